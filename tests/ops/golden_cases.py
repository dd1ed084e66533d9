"""The cases of the operations' goldens: one small input for each kernel, with what makes it a kernel of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastgo.assets.quant import FORMATS
from fastgo.ops import (
    add,
    add_rms_norm,
    attention,
    bias_add,
    embed,
    glu,
    layer_norm,
    matmul,
    matmul_glu,
    moe_combine,
    rms_norm,
    rope_attention,
    rope_cache,
    sandwich_norm,
    scatter_rows,
    soft_cap,
    transpose_2d,
)
from harness import OWN_FORMATS, Array, Weight, random_rows, random_weight

COLUMNS, OUTPUTS = 256, 12
WEIGHT_FORMATS = [*(f.name for f in FORMATS.values() if f.gguf_type_id is not None), *OWN_FORMATS]


@dataclass(frozen=True)
class GoldenCase:
    """One run of an operation. `outputs` names what `reference` returns; None for a value that has no golden."""

    op: str
    name: str
    inputs: Mapping[str, Array | Weight]
    attributes: Mapping[str, Any]
    reference: Callable[..., Any]
    outputs: tuple[str | None, ...] = ("y",)

    def digest(self) -> bytes:
        """SHA-256 of the inputs."""
        total = hashlib.sha256()
        for name, value in sorted(self.inputs.items()):
            total.update(name.encode() + (value.planar if isinstance(value, Weight) else value).tobytes())
        return total.digest()

    def expected(self) -> dict[str, Array]:
        """The float64 reference's results by name."""
        doubles = {name: _in_doubles(value) for name, value in self.inputs.items()}
        results = self.reference(**doubles, **self.attributes)
        values = results if isinstance(results, tuple) else (results,)
        return {name: value for name, value in zip(self.outputs, values, strict=True) if name is not None}


def _in_doubles(value: Array | Weight) -> Array:
    if isinstance(value, Weight):
        return value.dense()
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def golden_cases() -> Iterator[GoldenCase]:
    """Every case, the same at each call."""
    yield from _elementwise()
    yield from _products()
    yield from _attention()


def _elementwise() -> Iterator[GoldenCase]:
    x, branch = random_rows(1, 3, 96), random_rows(2, 3, 96)
    weight, post_weight = random_rows(3, 1, 96)[0], random_rows(4, 1, 96)[0]
    norm = {"eps": 1e-6}
    yield GoldenCase("add", "f32", {"a": x, "b": branch}, {}, add.reference)
    yield GoldenCase("bias_add", "f32", {"x": x, "bias": weight}, {}, bias_add.reference)
    yield GoldenCase("rms_norm", "f32", {"x": x, "weight": weight}, norm, rms_norm.reference)
    inputs = {"x": x, "weight": weight, "bias": post_weight}
    yield GoldenCase("layer_norm", "f32", inputs, norm, layer_norm.reference)
    inputs = {"x": x, "branch": branch, "weight": weight}
    yield GoldenCase("add_rms_norm", "f32", inputs, norm, add_rms_norm.reference, ("x", "y"))
    inputs = {**inputs, "post_weight": post_weight}
    yield GoldenCase("sandwich_norm", "f32", inputs, norm, sandwich_norm.reference, ("x", "y"))
    yield GoldenCase("soft_cap", "f32", {"x": x}, {"cap": 30.0}, soft_cap.reference)
    yield GoldenCase("transpose_2d", "f32", {"x": x}, {}, transpose_2d.reference)
    rows = np.array([4, 0, 2], np.int32)
    target = random_rows(5, 6, 96)
    yield GoldenCase("scatter_rows", "f32", {"x": x, "rows": rows, "y": target}, {}, scatter_rows.reference)
    for activation in ("silu", "gelu_tanh", "gelu_erf", "relu", "none"):
        inputs = {"gate": x, "up": branch}
        yield GoldenCase("glu", activation, inputs, {"activation": activation}, glu.reference)


def _products() -> Iterator[GoldenCase]:
    tokens = np.array([3, 0, 11], np.int32)
    for format in WEIGHT_FORMATS:
        weight, up = random_weight(format, OUTPUTS, COLUMNS, 1), random_weight(format, OUTPUTS, COLUMNS, 2)
        yield GoldenCase("embed", format, {"table": weight, "tokens": tokens}, {"scale": 2.5}, embed.reference)
        for rows in (1, 5, 20):
            x = random_rows(6, rows, COLUMNS)
            yield GoldenCase("matmul", f"{format} {rows}", {"x": x, "weight": weight}, {}, matmul.reference)
            inputs = {"x": x, "gate": weight, "up": up}
            attributes = {"activation": "gelu_tanh"}
            yield GoldenCase("matmul_glu", f"{format} {rows}", inputs, attributes, matmul_glu.reference)
    inputs = {"x": random_rows(7, 3, 2, 96).astype(np.float32), "weights": random_rows(8, 3, 2)}
    yield GoldenCase("moe_combine", "f32", inputs, {}, moe_combine.reference)


def _attention() -> Iterator[GoldenCase]:
    for dtype in (np.float32, np.float16):
        for head_dim, heads, kv_heads in ((64, 3, 1), (128, 4, 2), (256, 4, 1)):
            caches = {name: random_rows(seed, 2, kv_heads, 9, head_dim) for name, seed in (("k", 9), ("v", 10))}
            caches = {f"{name}_cache": cache.astype(dtype) for name, cache in caches.items()}
            scale = {"scale": head_dim**-0.5}
            for rows, window in ((1, 0), (3, 4)):
                name = f"{np.dtype(dtype).name} {head_dim} {rows}"
                places = {
                    "positions": np.arange(6, 6 + rows, dtype=np.int32),
                    "sequences": np.ones(rows, np.int32),
                }
                q = random_rows(11, rows, heads * head_dim)
                inputs = {"q": q, **caches, **places}
                yield GoldenCase("attention", name, inputs, {**scale, "window": window}, attention.reference)
                k, v = random_rows(12, rows, kv_heads * head_dim), random_rows(13, rows, kv_heads * head_dim)
                frequencies = (10_000.0 ** -(np.arange(head_dim // 2) * 2 / head_dim)).astype(np.float32)
                inputs = {**inputs, "k": k, "v": v, "frequencies": frequencies}
                yield GoldenCase(
                    "rope_cache", name, inputs, {"eps": 1e-6}, rope_cache.reference, ("q_out", "k_cache", "v_cache")
                )
                if rows == 1:
                    attributes = {**scale, "window": window, "eps": 1e-6}
                    yield GoldenCase(
                        "rope_attention", name, inputs, attributes, rope_attention.reference, (None, None, "y")
                    )
