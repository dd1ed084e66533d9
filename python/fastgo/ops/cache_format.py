"""What cached keys and values may be kept as: the names that users give, and the one that a model has by default.

Formats are dtypes of the graph; attention and rope_cache have a kernel for each. int8: symmetric integers with a
float16 scale for each row, which is a key or value of one head and token. int4: the same with a scale for 32 elements.
All scales lie behind all rows.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastgo.errors import UsageError

INT4_HEAD_MULTIPLE = 4  # a scale has at least four elements
_HINT = "leave out --kv-cache for the model's own"
CACHE_FORMATS = ("f16", "bf16", "f32", "int8", "int4")


def check_cache_format(name: str | None, head_dim: int = INT4_HEAD_MULTIPLE) -> None:
    """Raises UsageError for a name that is no format, or can't hold such heads; None stands for the model's own."""
    if name is not None and name not in CACHE_FORMATS:
        raise UsageError(
            f"there is no key/value cache in {name!r}, expected one of {', '.join(CACHE_FORMATS)}",
            hint=_HINT,
        )
    if name == "int4" and head_dim % INT4_HEAD_MULTIPLE != 0:
        raise UsageError(
            f"a cache in int4 needs heads of a multiple of {INT4_HEAD_MULTIPLE} elements, this model's have {head_dim}",
            hint=_HINT,
        )


def default_cache_format(weight_formats: Iterable[str]) -> str:
    """f32 for a model whose weights are all float32, which is run to be exact; else f16."""
    return "f32" if all(name == "f32" for name in weight_formats) else "f16"
