"""JSON from files that may be hostile: one object, UTF-8, no key twice, no runaway nesting, and typed access to fields.

Every complaint is an InvalidFileError that names the file and the field.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn, cast

from fastgo.errors import InvalidFileError

MAX_INTEGER = (1 << 63) - 1
DAMAGED_HINT = "the folder is damaged: import or download the model again"


class _RepeatedKey(ValueError):
    pass


def parse_object(raw: bytes, where: str) -> dict[str, Any]:
    """The object that `raw` holds. Raises InvalidFileError, whose message starts with `where`."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except _RepeatedKey as error:
        reason = f"key {str(error)[:80]!r} occurs twice"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
    except RecursionError:
        reason = "it nests too deeply"
    except ValueError:
        reason = "a number has too many digits"
    else:
        if isinstance(value, dict):
            return value
        reason = "it is not an object"
    raise InvalidFileError(f"{where} is not sound JSON: {reason}", hint=DAMAGED_HINT)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        raise _RepeatedKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return result


class Fields:
    """Typed access to an object's fields; a missing, unknown or wrong one is an InvalidFileError."""

    def __init__(self, data: Any, where: str, names: frozenset[str] | None = None) -> None:
        self.where = where
        if not isinstance(data, dict):
            self.fail(f"expected an object, found {type(data).__name__}")
        self.data = cast("dict[str, Any]", data)
        if names is not None:
            unknown = sorted(set(self.data) - names)
            missing = sorted(names - set(self.data))
            if unknown:
                self.fail(f"unknown field {unknown[0][:80]!r}")
            if missing:
                self.fail(f"field {missing[0]!r} is missing")

    def fail(self, what: str) -> NoReturn:
        raise InvalidFileError(f"{self.where}: {what}", hint=DAMAGED_HINT)

    def integer(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        value = self.data.get(name)
        if type(value) is not int or not low <= value <= high:
            self.fail(f"{name!r} is {_show(value)}, expected an integer from {low} to {high}")
        return value

    def optional_integer(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int | None:
        return None if self.data.get(name) is None else self.integer(name, low, high)

    def number(self, name: str) -> float:
        value = self.data.get(name)
        if type(value) not in (int, float) or not _is_finite(value):
            self.fail(f"{name!r} is {_show(value)}, expected a finite number")
        return float(cast("float", value))

    def boolean(self, name: str) -> bool:
        value = self.data.get(name)
        if type(value) is not bool:
            self.fail(f"{name!r} is {_show(value)}, expected true or false")
        return value

    def text(self, name: str, max_characters: int = 1 << 20) -> str:
        value = self.data.get(name)
        if type(value) is not str or len(value) > max_characters:
            self.fail(f"{name!r} is {_show(value)}, expected text of at most {max_characters} characters")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            self.fail(f"{name!r} has half a surrogate pair")
        return value

    def optional_text(self, name: str, max_characters: int = 1 << 20) -> str | None:
        return None if self.data.get(name) is None else self.text(name, max_characters)

    def sha256(self, name: str) -> str:
        value = self.text(name)
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            self.fail(f"{name!r} is {_show(value)}, expected 64 lower-case hexadecimal digits")
        return value

    def items(self, name: str, max_items: int = 1 << 20) -> list[Any]:
        value = self.data.get(name)
        if not isinstance(value, list) or len(value) > max_items:
            self.fail(f"{name!r} is {_show(value)}, expected a list of at most {max_items}")
        return value

    def integers(self, name: str, low: int = 0, high: int = MAX_INTEGER, max_items: int = 1 << 20) -> list[int]:
        values = self.items(name, max_items)
        for value in values:
            if type(value) is not int or not low <= value <= high:
                self.fail(f"{name!r} holds {_show(value)}, expected integers from {low} to {high}")
        return values


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _show(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "a huge integer"
    return repr(value)[:60]
