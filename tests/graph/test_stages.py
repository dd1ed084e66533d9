"""Dependent stages of a decode layer with heads as large as the models' own: they may shrink, not grow."""

from __future__ import annotations

import pytest
from fastgo import _fastmetal
from fastgo.assets.quant import matrix_shape, total_nbytes
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.lower import Lowering, Memory
from fastgo.graph.passes import run_passes
from fastgo.models.architectures import ARCHITECTURES
from fastgo.models.config import ModelConfig, RopeConfig
from fastgo.models.forward import Forward, LayerCache
from fastgo.ops.cache_format import CACHE_FORMATS

HIDDEN, WIDTH, VOCABULARY, CAPACITY = 64, 96, 40, 32


def small_config(architecture: str, head_dim: int, layers: int, biases: tuple[str, ...]) -> ModelConfig:
    """A model that is small but for its heads, of full attention."""
    return ModelConfig(
        architecture=architecture,
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        rms_norm_eps=1e-6,
        max_position_embeddings=CAPACITY,
        query_scale=1.0,
        rope=RopeConfig(10_000.0),
        layer_is_sliding=(False,) * layers,
        biases=biases,
    )


def decode_program(
    architecture: str,
    head_dim: int,
    layers: int,
    width: int = 1,
    format: str = "f32",
    biases: tuple[str, ...] = (),
    cache: str = "f16",
) -> _fastmetal.Program:
    """A recorded pass over one row. It is not run: all weights and state lie in one small buffer each."""
    config = small_config(architecture, head_dim, layers, biases)
    device, graph = _fastmetal.Device(0), Graph(width)
    described = ARCHITECTURES[architecture]
    shapes = dict(described.expected_shapes(config))
    weights: dict[str, Tensor] = {}
    buffers: dict[str, _fastmetal.Buffer] = {}

    def weight(name: str) -> Tensor:
        shape = shapes[name]
        dtype = format if len(shape) == 2 else "f32"
        return weights.setdefault(name, graph.tensor(name, shape, dtype, Storage.WEIGHT))

    def state(name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        return graph.tensor(name, shape, dtype, Storage.STATE)

    def memory(tensor: Tensor) -> Memory:
        if tensor.name not in buffers:
            if tensor.storage is Storage.WEIGHT:
                nbytes = total_nbytes(tensor.dtype, *matrix_shape(tensor.shape))
            else:
                nbytes = tensor.nbytes
            buffers[tensor.name] = device.buffer(nbytes, tensor.name)
        return Memory(buffers[tensor.name], 0, buffers[tensor.name].nbytes)

    cache_shape = (1, config.num_key_value_heads, CAPACITY, head_dim)
    forward = Forward(
        config=config,
        weight=weight,
        **{name: state(name, (1,), "i32") for name in ("tokens", "positions", "sequences")},
        rope=state("rope", (head_dim // 2,), "f32"),
        local_rope=None,
        cache=[
            LayerCache(state(f"keys {i}", cache_shape, cache), state(f"values {i}", cache_shape, cache))
            for i in range(layers)
        ],
        output_rows=range(1),
    )
    graph.results.append(described.forward(forward))
    run_passes(graph)
    return Lowering(device, graph, memory).record("decode")


@pytest.mark.parametrize(("architecture", "head_dim"), [("gemma3", 256), ("qwen3", 128), ("llama", 64)])
def test_a_decode_layer_is_seven_stages(architecture: str, head_dim: int) -> None:
    """q k v; rotary, cache and attention; output; norms; gate and up; down; norms."""
    few, many = (decode_program(architecture, head_dim, layers) for layers in (2, 5))
    assert many.stage_count - few.stage_count <= 3 * 7
    assert many.dispatch_count - few.dispatch_count <= 3 * 9


@pytest.mark.parametrize(("architecture", "head_dim"), [("gemma3", 256), ("qwen3", 128), ("llama", 64)])
def test_a_decode_layer_on_a_wide_device_is_five_kernels(architecture: str, head_dim: int) -> None:
    """Norms, q k v; rotary, cache and attention in parts; parts together, output; norms, gate and up; down."""
    few, many = (decode_program(architecture, head_dim, layers, 132, "q4_0") for layers in (2, 5))
    assert many.stage_count - few.stage_count == 3 * 5
    assert many.dispatch_count - few.dispatch_count == 3 * 5


@pytest.mark.parametrize(("width", "format", "stages", "dispatches"), [(1, "f32", 7, 9), (132, "q4_0", 5, 5)])
def test_biases_cost_no_stage(width: int, format: str, stages: int, dispatches: int) -> None:
    """Qwen 2.5's: they are added in the kernels of q, k and v."""
    biases = tuple(f"self_attn.{name}_proj" for name in "qkv")
    few, many = (decode_program("llama", 128, layers, width, format, biases) for layers in (2, 5))
    assert many.stage_count - few.stage_count <= 3 * stages
    assert many.dispatch_count - few.dispatch_count <= 3 * dispatches


@pytest.mark.parametrize("cache", CACHE_FORMATS)
@pytest.mark.parametrize("head_dim", [64, 128, 256])
def test_no_cache_costs_a_stage(head_dim: int, cache: str) -> None:
    """In every format the row's own key and value are rotated and cached by its attention."""
    for width, format, stages in ((1, "f32", 7), (132, "q4_0", 5)):
        few, many = (decode_program("qwen3", head_dim, layers, width, format, cache=cache) for layers in (2, 5))
        assert many.stage_count - few.stage_count == 3 * stages
