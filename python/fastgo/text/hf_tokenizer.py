"""Carries over a `tokenizer.json` of the public tokenizers library, with control tokens taken out of it.

What matches control tokens in text is our own code, which only a chat template may reach; so they leave the file and
get one of their own. Owns what is read from `tokenizer.json`, `tokenizer_config.json` and the model's config for it.
Units: token ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.text.byte_level import merges_content
from fastgo.text.gguf_tokenizer import SPECIAL_FILE, TOKENIZERS_FILE
from fastgo.text.gguf_vocabulary import END_OF_TURN_TOKENS, MAX_TOKENS, TURN_TOKENS
from fastgo.text.pipeline_growth import check_growth
from fastgo.text.quiet_library import quiet_library
from fastgo.text.tokenizer import BYTE_FALLBACK_KIND, BYTE_LEVEL_KIND

_HINT = "download the model again"
_MATCH_FLAGS = ("single_word", "lstrip", "rstrip")


def export_hf_tokenizer(
    tokenizer: Mapping[str, Any],
    tokenizer_config: Mapping[str, Any],
    model_config: Mapping[str, Any],
    vocab_size: int,
    out_dir: Path,
) -> dict[str, Any]:
    """Writes the tokenizer's files into `out_dir` and returns the manifest's tokenizer entry.

    Args:
        tokenizer: content of tokenizer.json.
        tokenizer_config: content of tokenizer_config.json; may be empty.
        model_config: for the ids of tokens that the others don't name: generation_config.json over config.json.
        vocab_size: rows of the model's embedding; added tokens beyond are left out.

    Returns:
        As `gguf_tokenizer.export_tokenizer`; "kind" is "tokenizers" or "tokenizers_byte_fallback".

    Raises:
        InvalidFileError: files that are damaged or contradict themselves.
        UnsupportedModelError: a model other than byte-level BPE or BPE with byte tokens.
    """
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        _fail("'model'", "an object", model)
    if model.get("type", "BPE") != "BPE":
        raise UnsupportedModelError(
            f"tokenizer.json: model {str(model['type'])[:40]!r} is not supported, only 'BPE' is",
        )
    kind = _kind(tokenizer)
    vocab = _vocab(model, vocab_size)
    added = added_tokens(tokenizer, vocab, vocab_size)
    _check_words(model, {*vocab, *added})
    control = {text: token for text, (token, is_control) in added.items() if is_control}
    content = _without_control(tokenizer, vocab, added, control)
    content["model"]["merges"] = merges_content(_checked_merges(content["model"]))
    encoded, encoded_control = _encoded(content), _encoded(control)
    _check_loads(encoded)
    ids = {**vocab, **{text: token for text, (token, _) in added.items()}}
    (out_dir / TOKENIZERS_FILE).write_bytes(encoded)
    (out_dir / SPECIAL_FILE).write_bytes(encoded_control)
    return {
        "kind": kind,
        "files": [TOKENIZERS_FILE, SPECIAL_FILE],
        "special": SPECIAL_FILE,
        "vocab_size": vocab_size,
        **special_ids(tokenizer, tokenizer_config, model_config, ids, control, vocab_size),
        "add_space_prefix": _adds_space_prefix(tokenizer),
    }


def _without_control(
    tokenizer: Mapping[str, Any],
    vocab: Mapping[str, int],
    added: Mapping[str, tuple[int, bool]],
    control: Mapping[str, int],
) -> dict[str, Any]:
    """The content of a tokenizer.json that makes no control token out of text, and adds none."""
    kept = [
        item
        for item in tokenizer.get("added_tokens", ())
        if item["content"] in added and item["content"] not in control
    ]
    model = tokenizer["model"]
    unknown = model.get("unk_token")
    # The library numbers added tokens anew unless they are members of the vocabulary.
    members = {**vocab, **{item["content"]: item["id"] for item in kept}}
    plain_vocab = {text: token for text, token in members.items() if text not in control or text == unknown}
    return {
        **tokenizer,
        "added_tokens": kept,
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "model": {**model, "vocab": plain_vocab},
    }


def special_ids(
    tokenizer: Mapping[str, Any],
    tokenizer_config: Mapping[str, Any],
    model_config: Mapping[str, Any],
    ids: Mapping[str, int],
    control: Mapping[str, int],
    vocab_size: int,
) -> dict[str, Any]:
    """The manifest's fields about single tokens, by the files' contents and the ids of all and of control tokens."""
    named = {
        name: _named_token(tokenizer_config, model_config, name, ids, vocab_size)
        for name in ("bos", "eos", "unk", "pad")
    }
    declared = _declared_ends(model_config, vocab_size)
    ends = [named["eos"], *declared, *(control[text] for text in END_OF_TURN_TOKENS if text in control)]
    return {
        **{f"{name}_id": token for name, token in named.items()},
        "eos_ids": list(dict.fromkeys(token for token in ends if token is not None)),
        "add_bos": named["bos"] is not None and _adds_bos(tokenizer, tokenizer_config, named["bos"]),
    }


def _fail(what: str, expected: str, found: object, where: str = TOKENIZERS_FILE) -> NoReturn:
    raise InvalidFileError(f"{where}: {what}: expected {expected}, found {repr(found)[:60]}", hint=_HINT)


def _encoded(content: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        _fail("its texts", "Unicode", "half a surrogate pair")


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_TOKENS


def _vocab(model: Mapping[str, Any], vocab_size: int) -> dict[str, int]:
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not vocab:
        _fail("'vocab'", "an object of token ids", type(vocab).__name__)
    seen: set[int] = set()
    for text, token in vocab.items():
        if not text or not _is_id(token) or token in seen:
            _fail(f"token {text[:32]!r}", "an id of its own", token)
        if token >= vocab_size:
            _fail(f"token {text[:32]!r}", f"an id below {vocab_size}, the rows of the embedding", token)
        seen.add(token)
    return vocab


def _check_words(model: Mapping[str, Any], words: set[str]) -> None:
    """What the library finds out too late: while it encodes, or by a panic."""
    unknown = model.get("unk_token")
    if unknown is not None and (not isinstance(unknown, str) or unknown not in words):
        _fail("'unk_token'", "a token of the vocabulary", unknown)
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise UnsupportedModelError(
                f"tokenizer.json: {name} is {str(model[name])[:40]!r}, expected none",
            )


def _checked_merges(model: Mapping[str, Any]) -> list[list[str]]:
    """Both parts of a merge, and what they make, have to be in the vocabulary: the library panics else."""
    vocab, merges = model["vocab"], model.get("merges")
    if not isinstance(merges, list):
        _fail("'merges'", "a list", merges)
    pairs = []
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            _fail("'merges'", "pairs of texts", merge)
        if not (pair[0] in vocab and pair[1] in vocab and pair[0] + pair[1] in vocab):
            _fail("'merges'", "pairs of tokens that make a third", merge)
        pairs.append(pair)
    return pairs


def added_tokens(
    tokenizer: Mapping[str, Any], vocab: Mapping[str, int], vocab_size: int, where: str = TOKENIZERS_FILE
) -> dict[str, tuple[int, bool]]:
    """Text -> (id, whether it is a control token) of the added tokens that the embedding has rows for.

    Raises InvalidFileError, UnsupportedModelError; messages start with `where`.
    """
    items = tokenizer.get("added_tokens", [])
    if not isinstance(items, list) or len(items) > MAX_TOKENS:
        _fail("'added_tokens'", "a list", type(items).__name__, where)
    added: dict[str, tuple[int, bool]] = {}
    owners = {token: text for text, token in vocab.items()}
    for item in items:
        text = item.get("content") if isinstance(item, dict) else None
        if not isinstance(text, str) or not text or text in added or not _is_id(item.get("id")):
            _fail("an added token", "an object with a text and an id of its own", item, where)
        if item["id"] >= vocab_size:
            continue
        if (vocab.get(text, item["id"]), owners.get(item["id"], text)) != (item["id"], text):
            _fail(f"added token {text[:32]!r}", "the same id as in the vocabulary", item["id"], where)
        owners[item["id"]] = text
        is_control = item.get("special") is True or text in TURN_TOKENS
        if is_control and any(item.get(flag) is True for flag in _MATCH_FLAGS):
            raise UnsupportedModelError(
                f"{where}: token {text[:32]!r} takes spaces or words around it along, which is not supported",
            )
        added[text] = (item["id"], is_control)
    return added


def _parts(tokenizer: Mapping[str, Any], name: str, list_name: str) -> list[Mapping[str, Any]]:
    """The parts of a normalizer, pre-tokenizer, post-processor or decoder, a sequence or not."""
    part = tokenizer.get(name)
    if part is None:
        return []
    if isinstance(part, dict) and part.get("type") == "Sequence":
        part = part.get(list_name)
    parts: list[Any] = part if isinstance(part, list) else [part]
    if not all(isinstance(item, dict) for item in parts):
        _fail(repr(name), "an object or a sequence of them", part)
    return parts


def _kind(tokenizer: Mapping[str, Any]) -> str:
    types = {str(part.get("type"))[:40] for part in _parts(tokenizer, "decoder", "decoders")}
    if "ByteLevel" in types:
        return BYTE_LEVEL_KIND
    if "ByteFallback" in types:
        return BYTE_FALLBACK_KIND
    raise UnsupportedModelError(
        f"tokenizer.json: decoder {sorted(types)[:8]} is not supported, only ByteLevel and ByteFallback are",
    )


def _adds_space_prefix(tokenizer: Mapping[str, Any]) -> bool:
    prepends = any(part.get("type") == "Prepend" for part in _parts(tokenizer, "normalizer", "normalizers"))
    for part in _parts(tokenizer, "pre_tokenizer", "pretokenizers"):
        if part.get("type") == "Metaspace":
            prepends = prepends or part.get("prepend_scheme", "always") != "never"
    return prepends


def _adds_bos(tokenizer: Mapping[str, Any], tokenizer_config: Mapping[str, Any], bos_id: int | None) -> bool:
    templates = [
        part
        for part in _parts(tokenizer, "post_processor", "processors")
        if part.get("type") == "TemplateProcessing" and isinstance(part.get("single"), list)
    ]
    if not templates:
        return tokenizer_config.get("add_bos_token") is True
    first = next(iter(templates[0]["single"]), None)
    special = first.get("SpecialToken") if isinstance(first, dict) else None
    table = templates[0].get("special_tokens")
    if not isinstance(special, dict) or not isinstance(table, dict):
        return False
    entry = table.get(str(special.get("id")))
    return isinstance(entry, dict) and entry.get("ids") == [bos_id]


def _named_token(
    tokenizer_config: Mapping[str, Any],
    model_config: Mapping[str, Any],
    name: str,
    ids: Mapping[str, int],
    vocab_size: int,
) -> int | None:
    """The id of the bos, eos, unk or pad token: tokenizer_config.json has its text, else the model's config its id."""
    key = f"{name}_token"
    if key in tokenizer_config:
        text = tokenizer_config[key]
        text = text.get("content") if isinstance(text, dict) else text
        return ids.get(text) if isinstance(text, str) else None
    token = model_config.get(f"{key}_id")
    if isinstance(token, list):
        token = token[0] if token else None
    return _checked_id(token, key, vocab_size)


def _declared_ends(model_config: Mapping[str, Any], vocab_size: int) -> list[int | None]:
    tokens = model_config.get("eos_token_id")
    return [_checked_id(token, "eos_token", vocab_size) for token in (tokens if isinstance(tokens, list) else [tokens])]


def _checked_id(token: object, key: str, vocab_size: int) -> int | None:
    if token is None:
        return None
    if type(token) is not int or not 0 <= token < vocab_size:
        raise InvalidFileError(
            f"the model's config: {key}_id: expected an id below {vocab_size}, found {repr(token)[:40]}", hint=_HINT
        )
    return token


def _check_loads(encoded: bytes) -> None:
    from tokenizers import Tokenizer as Library

    try:
        with quiet_library():
            library = Library.from_buffer(encoded)
        check_growth(library, TOKENIZERS_FILE)
    except (MemoryError, InvalidFileError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidFileError(f"tokenizer.json can't be used: {reason}", hint=_HINT) from None
