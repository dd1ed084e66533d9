"""Small GGUF files for tests: sound models through the public writer, and damaged files byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from fastgo.assets.quant import FORMATS, Bytes

HIDDEN, FFN, VOCAB, LAYERS, HEADS, KV_HEADS, HEAD_DIM, CONTEXT = 256, 512, 96, 2, 4, 2, 64, 128
UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def gguf_type(format: str) -> gguf.GGMLQuantizationType:
    return gguf.GGMLQuantizationType[format.upper()]


def random_raw(format: str, rows: int, columns: int, seed: int = 0) -> Bytes:
    """Random blocks, every byte free: uint8 (rows, bytes of a row)."""
    if format in FORMATS:
        nbytes = FORMATS[format].gguf_nbytes(1, columns)
    else:
        block_size, block_nbytes = gguf.GGML_QUANT_SIZES[gguf_type(format)]
        nbytes = columns // block_size * block_nbytes
    return np.random.default_rng(seed).integers(0, 256, (rows, nbytes), dtype=np.uint8)


def model_tensors(architecture: str, formats: tuple[str, ...] = ("q8_0", "q4_k", "q6_k", "q5_k")) -> dict[str, Any]:
    """Name -> (format, shape) of a tiny model, formats in turn."""
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    matrices = {
        "attn_q": (q, HIDDEN),
        "attn_k": (kv, HIDDEN),
        "attn_v": (kv, HIDDEN),
        "attn_output": (HIDDEN, q),
        "ffn_gate": (FFN, HIDDEN),
        "ffn_up": (FFN, HIDDEN),
        "ffn_down": (HIDDEN, FFN),
    }
    norms = {"attn_norm": HIDDEN, "ffn_norm": HIDDEN}
    if architecture in ("gemma3", "qwen3"):
        norms |= {"attn_q_norm": HEAD_DIM, "attn_k_norm": HEAD_DIM}
    if architecture == "gemma3":
        norms |= {"post_attention_norm": HIDDEN, "post_ffw_norm": HIDDEN}
    tensors: dict[str, Any] = {"output_norm.weight": ("f32", (HIDDEN,)), "token_embd.weight": ("q8_0", (VOCAB, HIDDEN))}
    for layer in range(LAYERS):
        for index, (name, shape) in enumerate(matrices.items()):
            tensors[f"blk.{layer}.{name}.weight"] = (formats[index % len(formats)], shape)
        for name, size in norms.items():
            tensors[f"blk.{layer}.{name}.weight"] = ("f32", (size,))
    return tensors


def model_metadata(architecture: str) -> dict[str, Any]:
    """The keys that an architecture needs; ints become uint32, floats float32."""
    keys = {
        "context_length": CONTEXT,
        "embedding_length": HIDDEN,
        "block_count": LAYERS,
        "feed_forward_length": FFN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.key_length": HEAD_DIM,
        "attention.value_length": HEAD_DIM,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e6,
    }
    if architecture == "gemma3":
        keys["attention.sliding_window"] = 16
    return {f"{architecture}.{key}": value for key, value in keys.items()} | {"general.license": "mit"}


def write_model(
    path: Path,
    architecture: str = "llama",
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Any] | None = None,
    split_max_tensors: int = 0,
    raw_of: Callable[[str, int, int, int], Bytes] = random_raw,
) -> dict[str, Bytes]:
    """Write a tiny model; `metadata` changes keys (None removes one). Returns each tensor's raw bytes.

    `split_max_tensors` splits it over several files. `raw_of` makes a tensor's bytes, called as `random_raw`.
    """
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=split_max_tensors)
    for key, value in (model_metadata(architecture) | dict(metadata or {})).items():
        add_value(writer, key, value)
    raws = {}
    for seed, (name, (format, shape)) in enumerate((tensors or model_tensors(architecture)).items()):
        raws[name] = raw_of(format, int(np.prod(shape[:-1])), shape[-1], seed)
        writer.add_tensor(name, raws[name].reshape(*shape[:-1], -1), raw_dtype=gguf_type(format))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return raws


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif value is not None:
        writer.add_array(key, value)


def text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def key_value(key: bytes | str, kind: int, payload: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + payload


def tensor_info(name: bytes | str, dimensions: tuple[int, ...], type_id: int = 0, offset: int = 0) -> bytes:
    """`dimensions` in GGUF's order: columns first."""
    return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, type_id, offset)


def raw_file(
    pairs: tuple[bytes, ...] = (),
    infos: tuple[bytes, ...] = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensor_count: int | None = None,
    pair_count: int | None = None,
) -> bytes:
    """A file from its parts, counts right unless given; data starts at the next multiple of 32."""
    counts = (len(infos) if tensor_count is None else tensor_count, len(pairs) if pair_count is None else pair_count)
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(infos)
    return head + bytes(-len(head) % 32) + data
