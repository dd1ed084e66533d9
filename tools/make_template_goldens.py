"""Makes the goldens of the chat templates: what transformers renders for the cases of tests/text/template_cases.py.

Needs the extra `goldens`, and the tokenizers of tools/fetch_tokenizers.py:

    python tools/make_template_goldens.py TOKENIZERS

writes tests/text/goldens/chat_templates.json: model, case, text; null where the template refuses the conversation.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

TESTS = Path(__file__).parents[1] / "tests" / "text"
sys.path.insert(0, str(TESTS))
from template_cases import CASES, FIXED  # noqa: E402


def token_text(value: Any) -> str:
    return str(value["content"] if isinstance(value, dict) else value or "")


def rendered(config: dict[str, Any], case: dict[str, Any]) -> str | None:
    fields = {"add_generation_prompt": True, **case, **FIXED}
    tokens = {name: token_text(config.get(name)) for name in ("bos_token", "eos_token")}
    messages = [fields.pop("messages")]
    try:
        texts, _ = render_jinja_template(messages, chat_template=config["chat_template"], **fields, **tokens)
    except jinja2.TemplateError:
        return None
    return str(texts[0])


def main() -> None:
    goldens = {}
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        goldens[folder.name] = {name: rendered(config, case) for name, case in CASES.items()}
    text = json.dumps(goldens, ensure_ascii=False, indent=1)
    (TESTS / "goldens" / "chat_templates.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
