"""Tensor names: GGUF's to Hugging Face's and back, by architecture, and which rows have to be put back in order.

llama.cpp's converter interleaves the two rotary halves of q and k for the `llama` architecture only; all our models use
the halves layout, so their rows are put back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.models.config import ModelConfig

_GLOBAL_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
)
BIASED: Mapping[str, str] = MappingProxyType(
    {
        **{f"attn_{part}": f"self_attn.{part}_proj" for part in "qkv"},
        "attn_output": "self_attn.o_proj",
        **{f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
    }
)
ROPE_DIVISORS = "rope_freqs.weight"  # no weight of the model: the config takes it in
_COMMON_LAYER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "attn_norm.weight": "input_layernorm.weight",
        **{f"{stored}.{kind}": f"{name}.{kind}" for stored, name in BIASED.items() for kind in ("weight", "bias")},
    }
)
_HEAD_NORM_NAMES: Mapping[str, str] = MappingProxyType(
    {"attn_q_norm.weight": "self_attn.q_norm.weight", "attn_k_norm.weight": "self_attn.k_norm.weight"}
)
_LAYER_NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "gemma3": {
            **_COMMON_LAYER_NAMES,
            **_HEAD_NORM_NAMES,
            "post_attention_norm.weight": "post_attention_layernorm.weight",
            "ffn_norm.weight": "pre_feedforward_layernorm.weight",
            "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
        },
        "llama": {**_COMMON_LAYER_NAMES, "ffn_norm.weight": "post_attention_layernorm.weight"},
        "qwen2": {**_COMMON_LAYER_NAMES, "ffn_norm.weight": "post_attention_layernorm.weight"},
        "qwen3": {**_COMMON_LAYER_NAMES, **_HEAD_NORM_NAMES, "ffn_norm.weight": "post_attention_layernorm.weight"},
        "qwen3moe": {
            **_COMMON_LAYER_NAMES,
            **_HEAD_NORM_NAMES,
            "ffn_norm.weight": "post_attention_layernorm.weight",
            "ffn_gate_inp.weight": "mlp.gate.weight",
            **{f"ffn_{part}_exps.weight": f"mlp.experts.{part}_proj.weight" for part in ("gate", "up", "down")},
        },
    }
)
_LAYER_PATTERN = re.compile(r"blk\.(0|[1-9][0-9]{0,4})\.(.+)", re.ASCII)
_HUGGING_FACE_LAYER = re.compile(r"model\.layers\.([0-9]+)\.(.+)", re.ASCII)
_INTERLEAVED = re.compile(r"self_attn\.([qk])_proj\.")


def hugging_face_name(name: str, config: ModelConfig, where: str) -> str:
    """The Hugging Face name of GGUF tensor `name`.

    Raises:
        InvalidFileError: a layer that the config does not have.
        UnsupportedModelError: a tensor that the architecture does not know or that is not supported; never ignored.
    """
    if name in _GLOBAL_NAMES:
        return _GLOBAL_NAMES[name]
    match = _LAYER_PATTERN.fullmatch(name)
    layer_names = _LAYER_NAMES[config.architecture]
    if match is None or match[2] not in layer_names:
        raise UnsupportedModelError(
            f"{where} has tensor {name!r}, which the architecture {config.architecture} does not know",
            hint="get the plain model: adapters, experts and vision parts are not supported",
        )
    if int(match[1]) >= config.num_hidden_layers:
        raise InvalidFileError(f"{where} has tensor {name!r}, expected {config.num_hidden_layers} layers only")
    return f"model.layers.{match[1]}.{layer_names[match[2]]}"


def gguf_name(name: str, config: ModelConfig) -> str:
    """The GGUF name of a Hugging Face tensor: the inverse of `hugging_face_name`. Raises UnsupportedModelError."""
    layer = _HUGGING_FACE_LAYER.fullmatch(name)
    names = _LAYER_NAMES[config.architecture] if layer else _GLOBAL_NAMES
    wanted = layer[2] if layer else name
    for ours, theirs in names.items():
        if theirs == wanted:
            return f"blk.{layer[1]}.{ours}" if layer else ours
    raise UnsupportedModelError(f"weight {name!r} of {config.architecture} has no name in GGUF")


def model_order(name: str) -> tuple[int, int]:
    """Sort key that puts Hugging Face names in the order in which a model uses them: embedding, layers, head."""
    if name.startswith("model.layers."):
        return 1, int(name.split(".")[2])
    return (0 if name == "model.embed_tokens.weight" else 2), 0


def halves_row_order(name: str, shape: tuple[int, ...], config: ModelConfig, where: str) -> npt.NDArray[np.intp] | None:
    """For each row of Hugging Face tensor `name` the row of the GGUF tensor; None if they are the same.

    GGUF's row 2*i + half of a head is row half * (head_dim / 2) + i of the halves layout.
    Raises InvalidFileError if the rows do not suit the config's heads.
    """
    match = _INTERLEAVED.search(name)
    if config.architecture != "llama" or match is None:
        return None
    heads = config.num_attention_heads if match[1] == "q" else config.num_key_value_heads
    if shape[0] != heads * config.head_dim:
        raise InvalidFileError(
            f"{where}: {name} has {shape[0]} rows, expected {heads} heads of {config.head_dim} rows each"
        )
    order: npt.NDArray[np.intp] = np.arange(shape[0]).reshape(heads, config.head_dim // 2, 2).swapaxes(1, 2).reshape(-1)
    return order
