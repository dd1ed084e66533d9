"""Values of options that several commands have."""

from __future__ import annotations

from enum import Enum

from fastgo.ops.cache_format import CACHE_FORMATS

KV_CACHE_METAVAR = "|".join(CACHE_FORMATS)
KV_CACHE_HELP = "What keys and values are kept as. Default: f16, or f32 for a model of float32 weights."


class Format(str, Enum):
    """How a command's result is written: `table` is for people and may change; `json` is for programs."""

    TABLE = "table"
    JSON = "json"
