"""Sound inputs of every fuzzing target, small, to start from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import hf_builder
import numpy as np
from fastgo.assets.hf_folder import WEIGHTS_FILE
from fuzz_targets import small_tokenizer, sound_manifest


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
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{% endfor %}{{ bos_token }}"
    tokenizer = small_tokenizer()
    special = {"bos_token": "<s>", "add_bos_token": True, "chat_template": template}
    folders: list[dict[str, Any]] = [
        {"config.json": hf_builder.config("gemma3"), "tokenizer.json": tokenizer, "tokenizer_config.json": special},
        {"config.json": hf_builder.config("gemma3"), "generation_config.json": {"do_sample": True, "top_k": 64}},
    ]
    names = hf_builder.tensors("gemma3")
    folders.append(folders[1] | {"model.safetensors.index.json": {"weight_map": dict.fromkeys(names, WEIGHTS_FILE)}})
    return {
        "gguf": [_gguf_seed("llama", bpe), _gguf_seed("gemma3", spm), _gguf_seed("qwen3", {})],
        "safetensors": [len(text).to_bytes(8, "little") + text + bytes(8)],
        "manifest": [sound_manifest()],
        "model_folder": [sound_manifest()],
        "engine": [sound_manifest()],
        "hf_folder": [json.dumps(folder).encode() for folder in folders],
        "tokenizer_json": [json.dumps(tokenizer).encode()],
        "loaded_tokenizer": [json.dumps(tokenizer | {"added_tokens": []}).encode()],
        "sentencepiece": [serialize_model(model)],
        "hf_config": [json.dumps(config).encode() for config in configs],
        "chat_template": [
            template.encode(),
            b"{%- set ns = namespace(x=0) -%}{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{{ f(1) }}",
            b"{% if tools %}{{ tools | tojson(indent=2) }}{% elif enable_thinking is defined %}no{% endif %}",
            b"{{ raise_exception('no') if messages|length > 9 else strftime_now('%Y') }}{{ 'ab'.split('a')[::-1] }}",
        ],
    }
