"""Rows of a benchmark as tables of text: which columns there are, and readable units. Nothing is printed here."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Table = tuple[list[str], list[list[str]]]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.2f}"


def _megabytes(nbytes: int | None) -> str:
    return "-" if nbytes is None else f"{nbytes / 1e6:.1f}"


_SPEED: dict[str, Callable[[Row], str]] = {
    "test": lambda row: str(row["test"]),
    "batch": lambda row: str(row["batch"]),
    "depth": lambda row: str(row["depth"]),
    "tok/s": lambda row: f"{row['tokens_per_s']['median']:.1f}",
    "min": lambda row: f"{row['tokens_per_s']['min']:.1f}",
    "max": lambda row: f"{row['tokens_per_s']['max']:.1f}",
    "first token ms": lambda row: _milliseconds(row.get("first_token_s", {}).get("median")),
    "p50 ms": lambda row: _milliseconds(row.get("between_tokens_s", {}).get("p50")),
    "p99 ms": lambda row: _milliseconds(row.get("between_tokens_s", {}).get("p99")),
    "memory MB": lambda row: _megabytes(row["memory_bytes"]),
    "peak MB": lambda row: _megabytes(row["peak_memory_bytes"]),
}
_STAGES: dict[str, Callable[[Row], str]] = {
    "layers": lambda row: str(row["layers"]),
    "dispatches a layer": lambda row: f"{row['dispatches_per_layer']:g}",
    "dependent stages a layer": lambda row: f"{row['dependent_stages_per_layer']:g}",
    "dispatches": lambda row: str(row["dispatches"]),
    "dependent stages": lambda row: str(row["dependent_stages"]),
}
_KERNELS: dict[str, Callable[[Row], str]] = {
    "rows": lambda row: str(row["rows"]),
    "depth": lambda row: str(row["depth"]),
    "kernel": lambda row: str(row["kernel"]),
    "shape": lambda row: str(row.get("shape", "")),
    "calls": lambda row: str(row["calls"]),
    "us": lambda row: f"{1e6 * row['seconds']['median']:.1f}",
    "min": lambda row: f"{1e6 * row['seconds']['min']:.1f}",
    "max": lambda row: f"{1e6 * row['seconds']['max']:.1f}",
    "% of pass": lambda row: f"{100 * row['share']:.1f}",
    "MB": lambda row: f"{row['bytes'] / 1e6:.3f}" if "bytes" in row else "",
    "GB/s": lambda row: f"{row['bytes_per_s'] / 1e9:.1f}" if "bytes_per_s" in row else "",
    "% of read": lambda row: f"{100 * row['of_read_bandwidth']:.0f}" if "of_read_bandwidth" in row else "",
    "Gop/s": lambda row: f"{row['operations_per_s'] / 1e9:.1f}" if row.get("operations") else "",
    "% of float32": lambda row: f"{100 * row['of_float32_product']:.0f}" if row.get("operations") else "",
}
_LIMITS: dict[str, Callable[[Row], str]] = {
    "memory read GB/s": lambda row: f"{row['read_bytes_per_s'] / 1e9:.1f}",
    "float32 product Gop/s": lambda row: f"{row['float32_operations_per_s'] / 1e9:.1f}",
}
_LAYOUTS = {"stages": _STAGES, "limits": _LIMITS, "kernel": _KERNELS}
TEXT_COLUMNS = frozenset({"test", "kernel", "shape"})


def tables(rows: Sequence[Row]) -> list[Table]:
    """A header and its cells for each kind of row, in the order in which the kinds appear."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row["test"] if row["test"] in _LAYOUTS else "speed", []).append(row)
    return [_table(_LAYOUTS.get(kind, _SPEED), group) for kind, group in kinds.items()]


def markdown(rows: Sequence[Row]) -> str:
    """The tables in Markdown, without a line break at the end."""
    parts = []
    for header, cells in tables(rows):
        rule = ["---" if name in TEXT_COLUMNS else "---:" for name in header]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *cells)))
    return "\n\n".join(parts)


def comma_separated(rows: Sequence[Row]) -> str:
    """All rows under one header, nested figures as `tokens_per_s.median`, without a line break at the end."""
    flat = [_flatten(row) for row in rows]
    output = io.StringIO()
    writer = csv.DictWriter(output, list(dict.fromkeys(name for row in flat for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return output.getvalue().rstrip("\n")


def _table(columns: dict[str, Callable[[Row], str]], rows: Sequence[Row]) -> Table:
    return list(columns), [[cell(row) for cell in columns.values()] for row in rows]


def _flatten(row: Row, prefix: str = "") -> Row:
    flat: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
