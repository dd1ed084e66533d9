"""`fastgo run`: answers one prompt, or holds a conversation on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgo.cli import ui
from fastgo.cli.formats import KV_CACHE_HELP, KV_CACHE_METAVAR
from fastgo.cli.sampling_options import (
    FrequencyPenalty,
    LogitBias,
    Logprobs,
    LogprobWriter,
    MinP,
    PresencePenalty,
    RepeatPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
    read_sampling,
)
from fastgo.cli.text_file import read_text
from fastgo.errors import UsageError

if TYPE_CHECKING:
    from fastgo import LLM


# A chat model ends its answer; a mere continuation of a text may never end.
_CONTINUATION_TOKENS = 256


def run(
    model: Annotated[str, typer.Option("--model", "-m", help="Name, model folder or .gguf file.", metavar="NAME|PATH")],
    prompt: Annotated[
        str | None, typer.Argument(help="What to answer; else --file, else standard input, else a conversation.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the prompt from a file.")] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", "-n", min=1, help="Longest answer; 256 where the model only continues a text."),
    ] = None,
    temperature: Temperature = None,
    seed: Seed = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repeat_penalty: RepeatPenalty = None,
    presence_penalty: PresencePenalty = None,
    frequency_penalty: FrequencyPenalty = None,
    logit_bias: LogitBias = None,
    logprobs: Logprobs = None,
    system: Annotated[str | None, typer.Option(help="Instructions in front of the conversation.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it is, without the chat template.")
    ] = False,
    think: Annotated[
        bool | None, typer.Option("--think/--no-think", help="Think before the answer, for models that can do either.")
    ] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Length of the context in tokens.")] = None,
    kv_cache: Annotated[str | None, typer.Option(help=KV_CACHE_HELP, metavar=KV_CACHE_METAVAR)] = None,
    device: Annotated[str | None, typer.Option(help="Device to run on; see `fastgo env`.")] = None,
) -> None:
    """Answer a prompt, or hold a conversation."""
    options = read_sampling(
        temperature=temperature,
        seed=seed,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repeat_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        logit_bias=logit_bias,
        logprobs=logprobs,
    )
    if think is not None:
        options["thinking"] = think
    text = _read_prompt(prompt, file)
    import fastgo

    with ui.progress() as progress:
        llm = fastgo.load(model, device=device, context=context, kv_cache=kv_cache, progress=progress)
    ui.fallback(device)
    may_never_end = raw or not llm.is_chat
    options["max_tokens"] = _CONTINUATION_TOKENS if max_tokens is None and may_never_end else max_tokens
    with llm:
        if text is None:
            _converse(llm, system, raw, options)
        else:
            _answer(llm, llm.generate(text, system=system, raw=raw, **options), logprobs is not None)


def _read_prompt(prompt: str | None, file: Path | None) -> str | None:
    """Returns the prompt; None if it is to be asked for on a terminal."""
    if prompt is not None and file is not None:
        raise UsageError("a prompt and --file were both given", hint="give one of them")
    if file is not None:
        return read_text(file)
    if prompt is not None:
        return prompt
    if sys.stdin is None or sys.stdin.isatty():
        return None
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    if not text:
        raise UsageError("standard input is empty: expected a prompt", hint="give a prompt as argument or with --file")
    return text


def _answer(llm: LLM, pieces: Iterator[str], logprobs: bool) -> str:
    """Streams one answer and its telemetry. After Ctrl-C both end cleanly, then KeyboardInterrupt goes on."""
    writer = LogprobWriter(llm) if logprobs else ui.AnswerWriter()
    answer: list[str] = []
    interrupted = False
    try:
        for piece in pieces:
            writer.write(piece)
            answer.append(piece)
    except KeyboardInterrupt:
        interrupted = True
    writer.end()
    ui.telemetry(llm.telemetry())
    if interrupted:
        raise KeyboardInterrupt
    return "".join(answer)


def _converse(llm: LLM, system: str | None, raw: bool, options: dict[str, Any]) -> None:
    """Asks and answers until /bye or the end of input. A base model continues each text on its own."""
    is_chat = llm.is_chat and not raw
    logprobs = "logprobs" in options
    ui.note("/bye or Ctrl-D ends the conversation" if is_chat else "base model: it continues your text; /bye ends")
    messages = [{"role": "system", "content": system}] if system and is_chat else []
    while (text := ui.ask()) is not None:
        if not text.strip():
            continue
        if not is_chat:
            _answer(llm, llm.generate(text, system=system, raw=raw, **options), logprobs)
            continue
        messages.append({"role": "user", "content": text})
        answer = _answer(llm, llm.chat(list(messages), **options), logprobs)
        messages.append({"role": "assistant", "content": answer})
