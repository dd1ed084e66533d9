"""Mutations that keep JSON sound: a fuzzer that flips bytes hardly ever gets past the parser of a JSON file.

A document is taken apart, some of its values are changed, dropped, doubled, moved or renamed, and it is written again.
The same bytes and seed give the same result.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

LENGTH_NBYTES = 8  # of a safetensors file's header
_MAX_STEPS = 4
_MAX_HEADER = 1 << 20
_INTEGERS = [0, 1, -1, 2, 3, 7, 64, 255, 256, 4096, *(1 << bits for bits in (16, 31, 32, 53, 62, 63, 64, 70))]
_VALUES: list[Any] = [
    *_INTEGERS, *(-value for value in _INTEGERS), *(value - 1 for value in _INTEGERS[-7:]),
    0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"), None, True, False, [], {}, [[]], {"": {}},
    "", "a", "0", "..", "../x", "/etc/passwd", "a/b", "\0", "\n", "\ud800", "\ufeff", "é\u0301", "\u202e", "a" * 300,
    "default", "linear", "yarn", "llama3", "bfloat16", "sliding_attention", "F32", "BF16", "F8_E4M3", "q4_0", "f32",
]  # fmt: skip
Place = tuple[Any, Any]
"""A container and the key or index of one value in it."""


def mutate(data: bytes, seed: int, fallback: bytes, names: tuple[str, ...] = ()) -> bytes:
    """Another JSON document like `data`, or like `fallback` if `data` is none. `names` are keys worth trying."""
    rng = random.Random(seed)
    try:
        root = [json.loads(data.decode("utf-8"))]
    except (ValueError, RecursionError):
        root = [json.loads(fallback)]
    for _ in range(rng.randint(1, _MAX_STEPS)):
        rng.choice(_STEPS)(root, rng, names)
    try:
        return json.dumps(root[0], ensure_ascii=rng.random() < 0.5).encode("utf-8", errors="surrogatepass")
    except RecursionError:
        return fallback


def mutate_safetensors(data: bytes, seed: int, fallback: bytes, names: tuple[str, ...] = ()) -> bytes:
    """As `mutate` for the header of a safetensors file; its length is put right, and the data's, nearly always."""
    rng = random.Random(seed ^ 0x5AFE)
    length = int.from_bytes(data[:LENGTH_NBYTES], "little")
    if length > len(data) - LENGTH_NBYTES or length > _MAX_HEADER:
        data, length = fallback, int.from_bytes(fallback[:LENGTH_NBYTES], "little")
    start = LENGTH_NBYTES + length
    plain = fallback[LENGTH_NBYTES : LENGTH_NBYTES + int.from_bytes(fallback[:LENGTH_NBYTES], "little")]
    header = mutate(data[LENGTH_NBYTES:start], seed, plain, names)
    if rng.random() < 0.7:
        header = _with_tight_offsets(header)
    body = data[start:]
    if rng.random() < 0.9:
        body = body[: _end(header)].ljust(min(_end(header), 1 << 16), b"\x3f")
    claimed = len(header) if rng.random() < 0.97 else rng.choice(_INTEGERS) % (1 << 64)
    return claimed.to_bytes(LENGTH_NBYTES, "little") + header + body


def keys_of(documents: list[bytes]) -> tuple[str, ...]:
    """All keys of the documents that are JSON."""
    keys: set[str] = set()
    for document in documents:
        keys |= {key for _, key in _places([_entries(document)]) if isinstance(key, str)}
    return tuple(sorted(keys))


def _places(value: Any, limit: int = 2000) -> list[Place]:
    """Where values are, all the way down."""
    found: list[Place] = []
    waiting = [value]
    while waiting and len(found) < limit:
        item = waiting.pop()
        pairs: Iterator[tuple[Any, Any]] = iter(item.items() if isinstance(item, dict) else enumerate(item))
        for key, inner in pairs:
            found.append((item, key))
            if isinstance(inner, (dict, list)):
                waiting.append(inner)
    return found


def _any_value(rng: random.Random, names: tuple[str, ...]) -> Any:
    """A copy, so that a list or object is never shared."""
    return copy.deepcopy(rng.choice([*_VALUES, *names]))


def _replace(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    container, key = rng.choice(_places(root))
    container[key] = _any_value(rng, names)


def _nudge(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    numbers = [place for place in _places(root) if type(place[0][place[1]]) in (int, float)]
    if numbers:
        container, key = rng.choice(numbers)
        value = container[key]
        container[key] = rng.choice([value + 1, value - 1, value * 2, -value, value // 2 if value == value else 0])


def _drop(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    container, key = rng.choice(_places(root))
    if container is not root:
        del container[key]


def _add(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    container, key = rng.choice(_places(root))
    value = _any_value(rng, names)
    if isinstance(container, dict):
        container[rng.choice([*names, "a", "", str(key) + "x"])] = value
    elif container is not root:
        container.insert(key, value)


def _copy(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    """One value in the place of another; as text, so that nothing is shared."""
    places = _places(root)
    (source, name), (target, key) = rng.choice(places), rng.choice(places)
    target[key] = json.loads(json.dumps(source[name]))


def _rename(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    keyed = [place for place in _places(root) if isinstance(place[0], dict)]
    if keyed:
        container, key = rng.choice(keyed)
        container[rng.choice([*names, str(rng.choice(keyed)[1]), key + ".", key[:-1]])] = container.pop(key)


def _double(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    lists = [place[0][place[1]] for place in _places(root) if isinstance(place[0][place[1]], list)]
    if lists:
        chosen = rng.choice(lists)
        chosen.extend(json.loads(json.dumps(chosen[:100])))


def _edit_text(root: list[Any], rng: random.Random, names: tuple[str, ...]) -> None:
    texts = [place for place in _places(root) if isinstance(place[0][place[1]], str)]
    if texts:
        container, key = rng.choice(texts)
        text = container[key]
        at = rng.randint(0, len(text))
        container[key] = (
            text[:at] + rng.choice(["", "\0", "/", ".", "é", "{", "}", "%", "\n", "0", text]) + text[at + 1 :]
        )


_STEPS: list[Callable[[list[Any], random.Random, tuple[str, ...]], None]] = [
    _replace, _replace, _nudge, _drop, _add, _copy, _rename, _double, _edit_text,
]  # fmt: skip


def _entries(header: bytes) -> dict[str, Any]:
    try:
        value = json.loads(header)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _with_tight_offsets(header: bytes) -> bytes:
    """Entries of sound sizes laid one after the other, as the format wants it: so that what follows is reached."""
    sizes = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "U8": 1}
    entries, start = _entries(header), 0
    for entry in entries.values():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        size = sizes.get(str(entry.get("dtype"))) if isinstance(entry, dict) else None
        if size and isinstance(shape, list) and all(type(n) is int and 0 <= n < 1 << 12 for n in shape):
            for n in shape:
                size *= n
            entry["data_offsets"] = [start, start + size]
            start += size
    return json.dumps(entries).encode() if entries else header


def _end(header: bytes) -> int:
    """The last byte that an entry claims, at most 64 KiB."""
    ends = [0]
    for entry in _entries(header).values():
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if isinstance(offsets, list):
            ends += [value for value in offsets if type(value) is int and 0 <= value <= 1 << 16]
    return max(ends)
