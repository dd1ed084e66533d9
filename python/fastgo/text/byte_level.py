"""Byte-level BPE: the alphabet that writes bytes as characters, the pre-tokenizers, and the `tokenizer.json` they need.

Owns the table of pre-tokenizers by their name in GGUF (`tokenizer.ggml.pre`). Units: token ids; one character of the
alphabet is one byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def byte_of_character() -> dict[str, int]:
    """The 256 characters that stand for bytes, as in GPT-2: printable Latin-1 as itself, the rest from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    table = {chr(byte): byte for byte in printable}
    hidden = (byte for byte in range(256) if byte not in printable)
    table.update({chr(0x100 + index): byte for index, byte in enumerate(hidden)})
    return table


@dataclass(frozen=True)
class PreTokenizer:
    """How text is cut into words before merging: each pattern in turn isolates its matches."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False  # a word that is a token as a whole is taken as it is


_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
_ANY_CASE_CONTRACTIONS = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
_GPT2_WORDS = rf"{_CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)"


def _words_with_lines(digits: str) -> str:
    return (
        rf"(?:{_ANY_CASE_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


_GPT2 = PreTokenizer((_GPT2_WORDS,))
_LLAMA3 = PreTokenizer((_words_with_lines(r"\p{N}{1,3}"),), ignore_merges=True)
_QWEN2 = PreTokenizer((_words_with_lines(r"\p{N}"),))

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "default": PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2_WORDS, r"\p{N}+", r"[0-9][0-9][0-9]")),
    "gpt-2": _GPT2,
    "smollm": PreTokenizer((r"\p{N}", _GPT2_WORDS)),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
}


def pre_tokenizer_name(tokenizer: Mapping[str, Any]) -> str | None:
    """GGUF's name for the way in which a tokenizer.json cuts words; None if there is none.

    Spellings that match the same texts count as the same.
    """
    part = tokenizer.get("pre_tokenizer")
    parts = part.get("pretokenizers") if isinstance(part, dict) and part.get("type") == "Sequence" else [part]
    if not isinstance(parts, list):
        return None
    patterns: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "Split" and part.get("behavior") == "Isolated" and isinstance(part.get("pattern"), dict):
            patterns.append(str(part["pattern"].get("Regex")))
        elif kind == "Digits" and part.get("individual_digits") is True:
            patterns.append(r"\p{N}")
        elif kind == "ByteLevel":
            patterns += [_GPT2_WORDS] if part.get("use_regex", True) else []
        else:
            return None
    model = tokenizer.get("model")
    ignore_merges = isinstance(model, dict) and model.get("ignore_merges") is True
    wanted = PreTokenizer(tuple(map(_one_spelling, patterns)), ignore_merges)
    for name, known in PRE_TOKENIZERS.items():
        if PreTokenizer(tuple(map(_one_spelling, known.patterns)), known.ignore_merges) == wanted:
            return name
    return None


def _one_spelling(pattern: str) -> str:
    pattern = pattern.replace(f"(?i:{_CONTRACTIONS})", f"(?:{_ANY_CASE_CONTRACTIONS})")
    return pattern.removesuffix(r"|\s+") if pattern.startswith(_CONTRACTIONS) else pattern


def build_tokenizer_json(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    user_defined: Mapping[str, int],
    pre_tokenizer: PreTokenizer,
) -> dict[str, Any]:
    """Returns the content of a `tokenizer.json` of the public tokenizers library.

    Args:
        vocab: token text in the byte alphabet -> id; without control tokens, so that plain text can't become one.
        merges: pairs of token texts, first merges first.
        user_defined: literal text -> id of tokens that are matched before anything else; also members of `vocab`.
        pre_tokenizer: one of PRE_TOKENIZERS.
    """
    splits = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in pre_tokenizer.patterns
    ]
    bytes_to_text = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    plain_match = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token, "content": text, **plain_match} for text, token in user_defined.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, bytes_to_text]},
        "post_processor": None,
        "decoder": bytes_to_text,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre_tokenizer.ignore_merges,
            "vocab": dict(vocab),
            "merges": merges_content(merges),
        },
    }


def merges_content(merges: Sequence[Sequence[str]]) -> list[str] | list[list[str]]:
    """Pairs of token texts as a tokenizer.json can have them: as lines, which the library reads a fifth faster.

    As pairs where lines would not say the same: a text with a space in it, or a line that looks like a file's heading.
    """
    if any(" " in pair[0] + pair[1] or pair[0].startswith("#version") for pair in merges):
        return [list(pair) for pair in merges]
    return [f"{left} {right}" for left, right in merges]
