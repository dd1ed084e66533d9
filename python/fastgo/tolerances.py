"""The one table of how far results may be from their references, for tests and for checks of a device.

Kernels: the difference from float64 with the same weights, over the larger of the element and the root mean square of
its row of outputs; for products, over what their terms would sum to with random signs. Models: the difference from
float32 references of other implementations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fastgo.assets.quant import get_format
from fastgo.ops import attention_tile
from fastgo.ops.vector_tuning import TILE_FORMATS

# By operation and by what the kernel computes with. Attention: of scores around 100, whose rounding is that of the
# exponent. Matmul: inputs with an outlier of 30 standard deviations, which coarsens the integers of its block; so do
# the CPU's one-row products of quantised weights, and NVIDIA's of 4-bit ones.
# rope_cache in int8 and int4: in steps between the integers of a row or group.
KERNELS: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("add", "float32"): 1e-6,
        ("add_rms_norm", "float32"): 3e-6,
        ("attention", "float32"): 1e-5,
        ("attention", "bfloat16"): 5e-2,
        ("attention", "float16"): 1e-2,
        ("attention_split", "float32"): 1e-5,
        ("bias_add", "float32"): 0.0,
        ("cast", "float32"): 0.0,
        ("copy", "float32"): 0.0,
        ("embed", "float32"): 3e-7,
        ("gemm", "float32"): 5e-6,
        ("glu", "float32"): 2e-6,
        ("layer_norm", "float32"): 3e-6,
        ("matmul", "float32"): 1e-5,
        ("matmul", "int16 activations"): 5e-4,
        ("matmul", "bfloat16"): 2e-2,
        ("matmul_glu", "float32"): 1e-5,
        ("matmul_glu", "int16 activations"): 5e-4,
        ("matmul_glu", "bfloat16"): 2e-2,
        ("moe_combine", "float32"): 2e-6,
        ("moe_matmul", "float32"): 5e-6,
        ("moe_matmul", "int16 activations"): 5e-4,
        ("moe_matmul", "bfloat16"): 2e-2,
        ("moe_matmul_glu", "float32"): 5e-6,
        ("moe_matmul_glu", "int16 activations"): 5e-4,
        ("moe_matmul_glu", "bfloat16"): 2e-2,
        ("moe_route", "float32"): 2e-6,
        ("rms_norm", "float32"): 3e-6,
        ("rope_cache", "float32"): 2e-6,
        ("rope_cache", "float16"): 6e-4,
        ("rope_cache", "bfloat16"): 5e-3,
        ("rope_cache", "int8"): 0.502,
        ("rope_cache", "int4"): 0.502,
        ("sandwich_norm", "float32"): 3e-6,
        ("soft_cap", "float32"): 1e-6,
    }
)


@dataclass(frozen=True)
class ModelTolerance:
    """`kl`: nats from the reference's next-token distribution; `max_abs`: logits.

    Greedy tokens must be the reference's up to the first step whose best logit leads by less than `greedy_margin`.
    """

    kl: float
    max_abs: float
    greedy_margin: float


FLOAT_MODEL = ModelTolerance(kl=1e-5, max_abs=0.02, greedy_margin=0.05)
BFLOAT16_MODEL = ModelTolerance(kl=1e-3, max_abs=0.4, greedy_margin=0.5)  # prefill; decode keeps the float row
# By format of the key/value cache: nats from the next-token distributions of the same tiny model with a float32 cache.
CACHE_KL: Mapping[str, float] = MappingProxyType({"f32": 1e-6, "f16": 5e-5, "bf16": 2e-3, "int8": 2e-3, "int4": 0.3})
TINY_MODEL_LOGITS = 1e-4  # float32 weights against transformers, largest absolute difference


def attention_precision(instruction_set: str, cache: str, head_dim: int, rows: int, is_wide: bool = False) -> str:
    """What attention computes with: a key of KERNELS. `is_wide`: with a GPU's kernels, on matrix units."""
    if is_wide and rows >= attention_tile.FEWEST_ROWS and cache != "float32" and head_dim in attention_tile.HEAD_DIMS:
        return "bfloat16" if cache == "bfloat16" else "float16"
    if is_wide and rows > 1 and cache in ("float16", "bfloat16") and head_dim in (64, 128):
        return cache
    is_rounded = instruction_set in ("avx512_bf16", "avx512_amx")
    if is_rounded and cache == "float16" and head_dim % 32 == 0 and rows > 16:
        return "bfloat16"
    return "float32"


def matmul_precision(instruction_set: str, format: str, rows: int) -> str:
    """What matmul computes with: a key of KERNELS. `instruction_set`: of the native kernels, or "msl", "device"."""
    if instruction_set in ("msl", "device") and rows > 16 and format != "f32":
        return "bfloat16"
    if instruction_set == "avx512_amx" and rows > 16 and format != "f32":
        return "bfloat16"
    if instruction_set == "device" and rows <= 16 and get_format(format).kernel in TILE_FORMATS:
        return "int16 activations"
    if get_format(format).group_size is not None:
        return "float32"
    is_quantised = get_format(format).is_quantised
    if instruction_set in ("avx512_bf16", "avx512_amx") and rows > 1 and format not in ("f32", "f16"):
        return "int16 activations" if is_quantised and rows <= 16 else "bfloat16"
    if instruction_set.startswith(("avx", "neon_")) and rows == 1 and is_quantised:
        return "int16 activations"
    return "float32"
