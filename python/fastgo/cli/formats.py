"""How a command's result is written."""

from __future__ import annotations

from enum import Enum


class Format(str, Enum):
    """`table` is for people and may change; `json` is for programs."""

    TABLE = "table"
    JSON = "json"
