"""What is fuzzed: every reader of a file that may be hostile, as a function of bytes.

A target may end well or with a FastgoError of one line; anything else is a fault. `seeds` gives sound files to start
from.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fastgo.assets import manifest
from fastgo.assets.gguf_source import open_gguf_source
from fastgo.assets.hf_config import config_from_hf
from fastgo.assets.hf_folder import HfFolder
from fastgo.assets.safetensors import read_header
from fastgo.assets.source import check_complete
from fastgo.assets.strict_json import parse_object
from fastgo.errors import FastgoError
from fastgo.text.chat import render
from fastgo.text.hf_tokenizer import export_hf_tokenizer
from fastgo.text.sentencepiece_reader import read_model
from fastgo.text.tokenizer import Tokenizer

_SCRATCH = tempfile.TemporaryDirectory(prefix="fastgo-fuzz-")
_FOLDER = Path(_SCRATCH.name)
_ROWS = 300
_TEXT = "Hello, wörld 12 <s> <|im_end|> 日本"


def run(name: str, data: bytes) -> FastgoError | None:
    """Runs one target; returns the error that it ended with. Raises whatever else the reader raises."""
    try:
        TARGETS[name](data)
    except FastgoError as error:
        assert error.message and "\n" not in error.message and len(error.message) < 2000, error.message
        return error
    return None


def _gguf(data: bytes) -> None:
    path = _FOLDER / "model.gguf"
    path.write_bytes(data)
    with open_gguf_source(path) as source:
        check_complete(source)
        for tensor in source.tensors:
            tensor.read_weights(slice(0, 1))
        _try_tokenizer(source.write_tokenizer(_FOLDER))


def _safetensors(data: bytes) -> None:
    (_FOLDER / "config.json").write_text("{}")
    (_FOLDER / "model.safetensors").write_bytes(data)
    for entry in read_header(_FOLDER / "model.safetensors").values():
        assert 0 <= entry.offset <= entry.offset + entry.nbytes <= len(data)
    for tensor in HfFolder.open(_FOLDER).tensors.values():
        tensor.read_float32(slice(0, 1))


def _manifest(data: bytes) -> None:
    found = manifest.decode(data, "manifest.json")
    assert manifest.decode(manifest.encode(found), "manifest.json") == found


def _tokenizer_json(data: bytes) -> None:
    content = parse_object(data, "tokenizer.json")
    _try_tokenizer(export_hf_tokenizer(content, {}, {"eos_token_id": 2}, _ROWS, _FOLDER))


def _sentencepiece(data: bytes) -> None:
    read_model(data, "tokenizer.model")


def _hf_config(data: bytes) -> None:
    config_from_hf(parse_object(data, "config.json"), 256, False, "config.json")


def _chat_template(data: bytes) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": _TEXT}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    text = data.decode("utf-8", errors="replace")
    render(text, messages, bos_token="<s>", eos_token="</s>", tools=tools, enable_thinking=False)


def _try_tokenizer(info: dict[str, Any] | None) -> None:
    if info is not None:
        tokenizer = Tokenizer.load(_FOLDER, info)
        tokenizer.decode(tokenizer.encode_prompt(_TEXT, special=True))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "gguf": _gguf,
    "safetensors": _safetensors,
    "manifest": _manifest,
    "tokenizer_json": _tokenizer_json,
    "sentencepiece": _sentencepiece,
    "hf_config": _hf_config,
    "chat_template": _chat_template,
}


def _gguf_seed(architecture: str, tokenizer: Mapping[str, Any]) -> bytes:
    """One layer of 32 wide."""
    from fastgo.assets.gguf_writer import GgufTensorPlan, encode_header

    keys = {
        "context_length": 8, "embedding_length": 32, "block_count": 1, "feed_forward_length": 32,
        "attention.head_count": 1, "attention.layer_norm_rms_epsilon": 1e-6, "attention.sliding_window": 8,
    }  # fmt: skip
    norms = {"attn_norm": 32, "ffn_norm": 32}
    norms |= {"attn_q_norm": 32, "attn_k_norm": 32} if architecture != "llama" else {}
    norms |= {"post_attention_norm": 32, "post_ffw_norm": 32} if architecture == "gemma3" else {}
    matrices = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    plans = [GgufTensorPlan("token_embd.weight", (4, 32), 8, 136), GgufTensorPlan("output_norm.weight", (32,), 0, 128)]
    plans += [GgufTensorPlan(f"blk.0.{name}.weight", (32, 32), 2, 576) for name in matrices]
    plans += [GgufTensorPlan(f"blk.0.{name}.weight", (size,), 0, 128) for name, size in norms.items()]
    metadata = {"general.architecture": architecture} | {f"{architecture}.{key}": value for key, value in keys.items()}
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in tokenizer.items()}
    file = io.BytesIO(encode_header(metadata, plans))
    file.seek(0, io.SEEK_END)
    for plan in plans:
        file.write(bytes(-(-plan.nbytes // 32) * 32))
    return file.getvalue()


def seeds() -> dict[str, list[bytes]]:
    """Sound inputs of every target, by its name."""
    import hf_builder
    from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json
    from fastgo.text.sentencepiece_model import SentencePieceModel, serialize_model

    bpe = {"model": "gpt2", "pre": "smollm", "tokens": ["<s>", "a", "b", "ab"], "merges": ["a b"]}
    spm = {
        "model": "llama", "tokens": ["<unk>", "<s>", "a", "\u2581"], "scores": np.zeros(4, np.float32),
        "token_type": np.array([2, 3, 1, 1], np.int32), "add_space_prefix": False,
    }  # fmt: skip
    header = {"a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    model = SentencePieceModel(["<unk>", "a"], [0.0, -1.0], [2, 1], 0, None, None, None, False, True)
    configs = [hf_builder.config(architecture) for architecture in ("llama", "gemma3", "qwen3")]
    tokenizer = build_tokenizer_json({"a": 0, "b": 1, "ab": 2}, [("a", "b")], {}, PRE_TOKENIZERS["gpt-2"])
    tokenizer["added_tokens"] = [{"id": 3, "content": "<s>", "special": True}]
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{% endfor %}{{ bos_token }}"
    return {
        "gguf": [_gguf_seed("llama", bpe), _gguf_seed("gemma3", spm), _gguf_seed("qwen3", {})],
        "safetensors": [len(text).to_bytes(8, "little") + text + bytes(8)],
        "manifest": [_manifest_seed()],
        "tokenizer_json": [json.dumps(tokenizer).encode()],
        "sentencepiece": [serialize_model(model)],
        "hf_config": [json.dumps(config).encode() for config in configs],
        "chat_template": [
            template.encode(),
            b"{%- set ns = namespace(x=0) -%}{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{{ f(1) }}",
            b"{% if tools %}{{ tools | tojson(indent=2) }}{% elif enable_thinking is defined %}no{% endif %}",
            b"{{ raise_exception('no') if messages|length > 9 else strftime_now('%Y') }}{{ 'ab'.split('a')[::-1] }}",
        ],
    }


def _manifest_seed() -> bytes:
    import hf_builder
    from fastgo.assets.convert import import_model

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        hf_builder.write_hf(folder / "m")
        return manifest.encode(import_model(folder / "m", folder / "out"))
