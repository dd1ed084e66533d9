"""Models of official shapes with random weights, for machines that real weights don't reach.

A model is one file of weights, and a model folder that says where they lie. A pattern of random bytes is repeated for
each plane, with scales that keep activations finite. Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fastgo.assets import quant
from fastgo.assets.manifest import Manifest, Provenance, ShardEntry, TensorEntry
from fastgo.assets.model_folder import ModelFolder
from fastgo.models.architectures import ARCHITECTURES
from fastgo.models.config import ModelConfig, RopeConfig

_PATTERN_ELEMENTS = 1 << 20
_SEED = 7

GEMMA3_1B = ModelConfig(
    architecture="gemma3",
    vocab_size=262144,
    hidden_size=1152,
    intermediate_size=6912,
    num_hidden_layers=26,
    num_attention_heads=4,
    num_key_value_heads=1,
    head_dim=256,
    rms_norm_eps=1e-6,
    max_position_embeddings=32768,
    query_scale=256**-0.5,
    rope=RopeConfig(1e6),
    local_rope=RopeConfig(1e4),
    sliding_window=512,
    layer_is_sliding=tuple((layer + 1) % 6 != 0 for layer in range(26)),
    embedding_scale=1152**0.5,
    hidden_activation="gelu_tanh",
)
QWEN3_8B = ModelConfig(
    architecture="qwen3",
    vocab_size=151936,
    hidden_size=4096,
    intermediate_size=12288,
    num_hidden_layers=36,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
    rms_norm_eps=1e-6,
    max_position_embeddings=40960,
    query_scale=128**-0.5,
    rope=RopeConfig(1e6),
    tie_word_embeddings=False,
)
QWEN3_30B_A3B = replace(
    QWEN3_8B,
    architecture="qwen3moe",
    hidden_size=2048,
    intermediate_size=6144,
    num_hidden_layers=48,
    num_key_value_heads=4,
    num_experts=128,
    num_experts_per_tok=8,
    moe_intermediate_size=768,
)
SHAPES: Mapping[str, ModelConfig] = {
    "gemma3-1b": GEMMA3_1B,
    "qwen3-8b": QWEN3_8B,
    "qwen3-30b-a3b": QWEN3_30B_A3B,
}
_ROUTER = "mlp.gate.weight"


def weight_facts(config: ModelConfig, format: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and format of every weight by its name: matrices in `format`, norms and routers in float32."""
    return {
        name: (tuple(shape), format if len(shape) > 1 and not name.endswith(_ROUTER) else "f32")
        for name, shape in ARCHITECTURES[config.architecture].expected_shapes(config)
    }


def write_random_model(folder: Path, shape: str, format: str) -> ModelFolder:
    """Writes the weights of one of SHAPES into `folder`, as weight_facts says.

    The manifest is in memory only, and without hashes.
    """
    config = SHAPES[shape]
    tensors: dict[str, TensorEntry] = {}
    file = folder / f"{shape}-{format}.weights"
    with file.open("wb") as out:
        for name, (dimensions, used) in weight_facts(config, format).items():
            rows, columns = quant.matrix_shape(dimensions)
            nbytes = quant.total_nbytes(used, rows, columns)
            tensors[name] = TensorEntry(used, dimensions, 0, out.tell(), nbytes, "")
            _write_planes(out, used, rows, columns, nbytes)
        size = out.tell()
    source = Provenance(f"{shape} {format}", size, "", 0)
    return ModelFolder(folder, Manifest(config, source, (ShardEntry(file.name, size, ""),), tensors))


def _write_planes(out: Any, format: str, rows: int, columns: int, nbytes: int) -> None:
    begin = out.tell()
    for plane in quant.layout(format, rows, columns):
        out.write(bytes(begin + plane.offset - out.tell()))
        pattern = _pattern(format, plane.role, rows, columns).tobytes()
        remaining = plane.nbytes
        while remaining > 0:
            remaining -= out.write(memoryview(pattern)[:remaining])
    out.write(bytes(begin + nbytes - out.tell()))


def _pattern(format: str, role: str, rows: int, columns: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Weights of about 1 / sqrt(columns), so that a product of unit inputs has about unit size."""
    random = np.random.default_rng([_SEED, columns, *format.encode(), *role.encode()])
    size = columns**-0.5
    if format == "f32":
        is_norm = rows == 1
        values = random.uniform(0.9, 1.1, _PATTERN_ELEMENTS) if is_norm else random.normal(0.0, size, _PATTERN_ELEMENTS)
        return values.astype(np.float32)
    if format == "bf16":
        return (random.normal(0.0, size, _PATTERN_ELEMENTS).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if role == "scales":
        return (random.choice((-1.0, 1.0), _PATTERN_ELEMENTS) * size / 4.6).astype(np.float16)
    return random.integers(0, 256, _PATTERN_ELEMENTS, np.uint8)
