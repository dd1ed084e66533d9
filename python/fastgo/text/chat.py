"""Chat templates: a conversation to the text that a model was trained on.

Owns what a template may refer to besides the messages. The template comes from a model file and may be hostile; the
limits are in sandbox.py. Jinja2 is imported on first use, as plain prompts need none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from fastgo.errors import InvalidFileError, UsageError

MAX_TEMPLATE_LENGTH = 1 << 17


class _RefusedError(Exception):
    """The template itself called `raise_exception`."""


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    bos_token: str,
    eos_token: str,
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **extra: Any,
) -> str:
    """Returns the prompt for a conversation, control tokens written out.

    Args:
        template: Jinja2 source, with the settings that transformers uses (trim_blocks, lstrip_blocks, loop controls).
        messages: {"role", "content", ...} in order.
        bos_token: text of the token that starts a sequence; may be empty.
        eos_token: text of the token that ends one; may be empty.
        add_generation_prompt: whether to end with the start of the assistant's turn.
        tools: JSON schemas of functions, for templates that know them.
        extra: further variables, such as enable_thinking.

    Raises:
        InvalidFileError: a template that is no Jinja2, fails, or does more work than any honest template.
        UsageError: the template refuses this conversation.
    """
    if len(template) > MAX_TEMPLATE_LENGTH:
        raise _invalid(f"expected at most {MAX_TEMPLATE_LENGTH} characters, found {len(template)}")
    from fastgo.text.sandbox import CountingEnvironment

    variables = {
        "messages": list(messages),
        "tools": tools,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "add_generation_prompt": add_generation_prompt,
        **extra,
    }
    try:
        environment = CountingEnvironment(variables)
        environment.globals.update(raise_exception=_refuse, strftime_now=_strftime_now)
        return str(environment.compile_counted(template).render(variables))
    except _RefusedError as error:
        hint = "check the roles and their order, or use --raw for a plain prompt"
        raise UsageError(f"the model's chat template refuses this conversation: {error}", hint=hint) from None
    except RecursionError:
        raise _invalid("it calls itself without end") from None
    except Exception as error:  # any failure of foreign code, down to its own type errors, is the file's fault
        raise _invalid(_one_line(error) or type(error).__name__) from None


def shielded(value: Any, shield: Callable[[str], str]) -> Any:
    """A message or a tool with `shield` applied to every text in it, however nested; names of fields stay."""
    if isinstance(value, str):
        return shield(value)
    if isinstance(value, Mapping):
        return {name: shielded(item, shield) for name, item in value.items()}
    return [shielded(item, shield) for item in value] if isinstance(value, (list, tuple)) else value


def _refuse(message: object = "") -> NoReturn:
    raise _RefusedError(_one_line(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern[:100])


def _one_line(value: object) -> str:
    return " ".join(str(value).split())[:200]


def _invalid(reason: str) -> InvalidFileError:
    return InvalidFileError(f"the model's chat template can't be used: {reason}", hint="use --raw for a plain prompt")
