"""Carries over the SentencePiece `tokenizer.model` of a Hugging Face folder that has no tokenizer.json.

Llama 2, Mistral and Gemma came so. Owns how the tokens that a folder adds, in tokenizer_config.json or
added_tokens.json, join the pieces, and which of them are control tokens. Units: token ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastgo.errors import InvalidFileError
from fastgo.text.gguf_tokenizer import SENTENCEPIECE_FILE, SPECIAL_FILE
from fastgo.text.gguf_vocabulary import TURN_TOKENS
from fastgo.text.hf_tokenizer import added_tokens, special_ids
from fastgo.text.sentencepiece_model import (
    CONTROL,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    SentencePieceModel,
    serialize_model,
)
from fastgo.text.sentencepiece_reader import read_model
from fastgo.text.tokenizer import SENTENCEPIECE_KIND

_CONFIG, _ADDED = "tokenizer_config.json", "added_tokens.json"
_HINT = "download the model again"


def export_sentencepiece(
    raw: bytes,
    tokenizer_config: Mapping[str, Any],
    added: Mapping[str, Any],
    model_config: Mapping[str, Any],
    vocab_size: int,
    out_dir: Path,
) -> dict[str, Any]:
    """Writes the tokenizer's files into `out_dir` and returns the manifest's tokenizer entry.

    Args:
        raw: tokenizer.model.
        tokenizer_config, added: contents of tokenizer_config.json and added_tokens.json; may be empty.
        model_config: for the ids of tokens that the others don't name: generation_config.json over config.json.
        vocab_size: rows of the model's embedding. Those without a token get an unused piece.

    Returns:
        As `gguf_tokenizer.export_tokenizer`.

    Raises:
        InvalidFileError: files that are damaged or contradict themselves.
        UnsupportedModelError: as `read_model`.
    """
    model = read_model(raw, SENTENCEPIECE_FILE)
    if len(model.pieces) > vocab_size:
        raise InvalidFileError(
            f"{SENTENCEPIECE_FILE} has {len(model.pieces)} tokens, the embedding has {vocab_size} rows", hint=_HINT
        )
    model = _with_added(model, _declared(tokenizer_config, added), vocab_size)
    if tokenizer_config.get("add_prefix_space") is False:
        model = replace(model, add_space_prefix=False)
    ids = {text: token for token, text in enumerate(model.pieces)}
    control = {text: token for text, token in ids.items() if model.kinds[token] in (CONTROL, UNKNOWN)}
    named = {name: getattr(model, f"{name}_id") for name in ("bos", "eos", "unk", "pad")}
    special = special_ids(
        {},
        {"add_bos_token": True, **tokenizer_config},  # transformers' default for these classes
        {**{f"{name}_token_id": token for name, token in named.items()}, **model_config},
        ids,
        control,
        vocab_size,
    )
    content = serialize_model(model)
    _check_loads(content)
    (out_dir / SENTENCEPIECE_FILE).write_bytes(content)
    (out_dir / SPECIAL_FILE).write_text(json.dumps(control, ensure_ascii=False), encoding="utf-8")
    return {
        "kind": SENTENCEPIECE_KIND,
        "files": [SENTENCEPIECE_FILE, SPECIAL_FILE],
        "special": SPECIAL_FILE,
        "vocab_size": vocab_size,
        **special,
        "add_space_prefix": model.add_space_prefix,
    }


def _declared(tokenizer_config: Mapping[str, Any], added: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tokens of added_tokens_decoder or, where there is none, of added_tokens.json, as a tokenizer.json has them."""
    table = tokenizer_config.get("added_tokens_decoder")
    if table is None:
        listed = tokenizer_config.get("additional_special_tokens")
        items = listed if isinstance(listed, list) else []
        names = [item.get("content") if isinstance(item, dict) else item for item in items]
        return [{"content": text, "id": token, "special": text in names} for text, token in added.items()]
    if not isinstance(table, dict) or not all(
        key.isascii() and key.isdecimal() and len(key) < 8 and isinstance(item, dict) for key, item in table.items()
    ):
        raise InvalidFileError(f"{_CONFIG}: added_tokens_decoder is no table of tokens by id", hint=_HINT)
    return [{**item, "id": int(key)} for key, item in table.items()]


def _with_added(model: SentencePieceModel, declared: list[dict[str, Any]], rows: int) -> SentencePieceModel:
    """A piece for every row of the embedding; added tokens are control tokens or taken out of text as they stand."""
    spare = rows - len(model.pieces)
    texts = [*model.pieces, *(f"[PAD{token}]" for token in range(len(model.pieces), rows))]
    kinds = [*model.kinds, *[UNUSED] * spare]
    for token, text in enumerate(model.pieces):
        if kinds[token] == USER_DEFINED and text in TURN_TOKENS:
            kinds[token] = CONTROL
    pieces = {text.replace(SPACE, " "): token for token, text in enumerate(model.pieces)}
    where = _CONFIG if declared else _ADDED
    for text, (token, is_control) in added_tokens({"added_tokens": declared}, pieces, rows, where).items():
        if kinds[token] != UNKNOWN:
            texts[token] = text if is_control else text.replace(" ", SPACE)
            kinds[token] = CONTROL if is_control else kinds[token] if kinds[token] == CONTROL else USER_DEFINED
    if len(set(texts)) != len(texts):
        raise InvalidFileError(f"{where}: an added token has the text of another", hint=_HINT)
    return replace(model, pieces=texts, scores=[*model.scores, *[0.0] * spare], kinds=kinds)


def _check_loads(content: bytes) -> None:
    from sentencepiece import SentencePieceProcessor

    try:
        SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidFileError(f"{SENTENCEPIECE_FILE} can't be used: {reason}", hint=_HINT) from None
