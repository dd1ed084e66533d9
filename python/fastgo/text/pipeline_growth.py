"""How much longer a tokenizer's own steps may make a text: a file can stack steps each of which doubles it.

Looks at the steps of a loaded tokenizer of the public library, so that it holds for whatever the file wrote.
Units: growth is bytes after a step for each byte before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from fastgo.errors import InvalidFileError

MAX_GROWTH = 64  # tokenizers of the supported families stay below 6
MAX_STEPS = 64
_GROWTHS: Mapping[str, float] = {
    "ByteLevel": 2,  # a byte becomes a character of at most two
    "Metaspace": 3,
    "Precompiled": math.inf,  # a table of any replacements
}


def check_growth(library: Any, name: str) -> None:
    """Raises InvalidFileError, whose message starts with `name`, if texts could grow without measure."""
    steps = [*_steps(library.normalizer, "normalizers"), *_steps(library.pre_tokenizer, "pretokenizers")]
    growth = math.prod(_growth(step) for step in steps)
    if growth > MAX_GROWTH or len(steps) > MAX_STEPS:
        raise InvalidFileError(
            f"{name}: its {len(steps)} steps make a text up to {min(growth, 1e300):.3g} times longer, "
            f"at most {MAX_GROWTH} times in {MAX_STEPS} steps are accepted",
            hint="use a tokenizer of a supported family",
        )


def _steps(part: Any, list_name: str) -> Iterator[Mapping[str, Any]]:
    """The single steps of a normalizer or pre-tokenizer, sequences in sequences taken apart."""
    waiting = [] if part is None else [json.loads(part.__getstate__())]
    while waiting:
        step = waiting.pop()
        if step.get("type") == "Sequence":
            waiting.extend(step.get(list_name, ()))
        else:
            yield step


def _growth(step: Mapping[str, Any]) -> float:
    if step.get("type") == "Prepend":
        return 1 + len(str(step.get("prepend")).encode("utf-8", errors="replace"))
    if step.get("type") != "Replace":
        return _GROWTHS.get(str(step.get("type")), 1)
    content = len(str(step.get("content")).encode("utf-8", errors="replace"))
    literal = step.get("pattern", {}).get("String")
    # A regular expression may match the nothing between two characters.
    return max(1, content / max(1, len(literal.encode()))) if literal else 1 + content
