"""manifest.json: a round trip keeps everything; each kind of damage is one clear error."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastgo.assets import manifest as manifests
from fastgo.assets.manifest import Manifest, Provenance, ShardEntry, TensorEntry
from fastgo.errors import FastgoError, InvalidFileError, ModelNotFoundError, UnsupportedModelError
from fastgo.models.config import ModelConfig, RopeConfig

HASH = "0f" * 32
CONFIG = ModelConfig(
    architecture="gemma3",
    vocab_size=100,
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    rms_norm_eps=1e-6,
    max_position_embeddings=128,
    query_scale=0.125,
    rope=RopeConfig(1e6, 8.0),
    local_rope=RopeConfig(1e4),
    sliding_window=16,
    layer_is_sliding=(True, False),
    embedding_scale=16.0,
    hidden_activation="gelu_tanh",
)
MANIFEST = Manifest(
    config=CONFIG,
    provenance=Provenance("model.gguf", 1234, HASH, 1),
    shards=(ShardEntry("weights-00001-of-00001.safetensors", 8192, HASH),),
    tensors={
        "model.norm.weight": TensorEntry("f32", (256,), 0, 4096, 1024, HASH),
        "b": TensorEntry("q4_k", (2, 256), 0, 5120, 512, HASH),
    },
    tokenizer={"kind": "tokenizers", "files": ["tokenizer.json"], "bos_id": 2, "eos_ids": [1, 99], "add_bos": True},
    chat_template="{{ 'é' }}",
    generation={"temperature": 0.5, "top_k": 40},
    licence="mit",
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / manifests.FILE_NAME
    path.write_bytes(manifests.encode(MANIFEST))
    assert manifests.load(path) == MANIFEST
    with pytest.raises(ModelNotFoundError):
        manifests.load(tmp_path / "absent" / manifests.FILE_NAME)


def change(*path: Any, to: Any) -> Callable[[Any], None]:
    def apply(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return apply


def remove(*path: Any) -> Callable[[Any], None]:
    def apply(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return apply


NORM = ("tensors", "model.norm.weight")
DAMAGED: dict[str, tuple[Callable[[Any], None], str]] = {
    "newer version": (change("format_version", to=2), "format version 2"),
    "version type": (change("format_version", to=True), "expected an integer"),
    "field missing": (remove("licence"), "'licence' is missing"),
    "field unknown": (change("extra", to=1), "unknown field 'extra'"),
    "config type": (change("config", to=[]), "expected an object"),
    "config field missing": (remove("config", "head_dim"), "'head_dim' is missing"),
    "config unknown": (change("config", "x", to=1), "unknown field 'x'"),
    "architecture": (change("config", "architecture", to="gpt9"), "'gpt9' is not supported"),
    "activation": (change("config", "hidden_activation", to="relu"), "'relu' is not supported"),
    "negative size": (change("config", "hidden_size", to=-1), "hidden_size"),
    "size is a fraction": (change("config", "hidden_size", to=256.0), "hidden_size"),
    "huge layers": (change("config", "num_hidden_layers", to=1 << 40), "num_hidden_layers"),
    "heads": (change("config", "num_key_value_heads", to=3), "can't share"),
    "odd head": (change("config", "head_dim", to=63), "even"),
    "epsilon": (change("config", "rms_norm_eps", to=0), "positive"),
    "not a number": (change("config", "query_scale", to=float("nan")), "finite"),
    "infinite theta": (change("config", "rope", "theta", to=float("inf")), "finite"),
    "rope missing": (change("config", "rope", to=None), "expected an object"),
    "rope unknown": (change("config", "rope", "beta", to=1), "unknown field"),
    "layers disagree": (change("config", "layer_is_sliding", to=[True]), "1 entries for 2 layers"),
    "layers as text": (change("config", "layer_is_sliding", to="yes"), "expected a list"),
    "layers of numbers": (change("config", "layer_is_sliding", to=[1, 0]), "something else"),
    "no window": (change("config", "sliding_window", to=0), "'sliding_window' is 0"),
    "token id": (change("tokenizer", "bos_id", to=100), "bos_id"),
    "end token id": (change("tokenizer", "eos_ids", to=[-1]), "eos_ids"),
    "tokenizer file": (change("tokenizer", "files", to=["../x"]), "plain file name"),
    "tokenizer file type": (change("tokenizer", "files", to=[3]), "something else"),
    "template type": (change("chat_template", to=3), "expected text"),
    "half a surrogate": (change("chat_template", to="\ud800"), "surrogate"),
    "generation": (change("generation", "seed", to=1), "unknown field"),
    "generation range": (change("generation", "temperature", to=-1), "'temperature' is -1, expected a number from 0"),
    "generation type": (change("generation", "top_k", to="40"), "finite number"),
    "source hash": (change("provenance", "source_sha256", to="00"), "64 lower-case"),
    "shard traversal": (change("shards", 0, "file", to="../weights"), "plain file name"),
    "shard absolute": (change("shards", 0, "file", to="/etc/passwd"), "plain file name"),
    "shard hidden": (change("shards", 0, "file", to=".weights"), "plain file name"),
    "shard newline": (change("shards", 0, "file", to="a\n"), "plain file name"),
    "shard is the manifest": (change("shards", 0, "file", to="manifest.json"), "plain file name"),
    "shards twice": (lambda data: data["shards"].append(data["shards"][0]), "same file"),
    "shards type": (change("shards", to={}), "expected a list"),
    "tensors type": (change("tensors", to=[]), "expected an object"),
    "tensor name": (change("tensors", "a\nb", to=MANIFEST.to_json()["tensors"]["b"] | {"offset": 7168}), "name"),
    "format": (change(*NORM, "format", to="q1"), "'q1'"),
    "shape zero": (change(*NORM, "shape", to=[0]), "shape"),
    "shape empty": (change(*NORM, "shape", to=[]), "does not suit"),
    "shape columns": (change("tensors", "b", "shape", to=[4, 128]), "does not suit"),
    "shape huge": (change(*NORM, "shape", to=[1 << 62] * 4), "needs"),
    "shard index": (change(*NORM, "shard", to=1), "shard"),
    "offset misaligned": (change(*NORM, "offset", to=4100), "multiple of 64"),
    "offset negative": (change(*NORM, "offset", to=-64), "offset"),
    "beyond the shard": (change(*NORM, "offset", to=7680), "ends at byte 8704"),
    "bytes": (change(*NORM, "nbytes", to=960), "needs 1024"),
    "overlap": (change("tensors", "b", "offset", to=4096), "overlap"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_clear_error(name: str) -> None:
    damage, expected = DAMAGED[name]
    data = copy.deepcopy(json.loads(manifests.encode(MANIFEST)))
    damage(data)
    with pytest.raises((InvalidFileError, UnsupportedModelError)) as caught:
        manifests.decode(json.dumps(data).encode(), "manifest.json")
    assert expected in caught.value.message
    assert "\n" not in caught.value.message


def test_random_damage_raises_nothing_else() -> None:
    sound = manifests.encode(MANIFEST)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(1500):
        data = bytearray(sound)
        data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
        try:
            manifests.decode(bytes(data), "manifest.json")
        except FastgoError as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > 500


def test_replacing_any_value_raises_nothing_else() -> None:
    sound = json.loads(manifests.encode(MANIFEST))
    for path in _paths(sound):
        for value in (None, -1, 1 << 70, 0.5, "x", "\ud800", [], [[]], {}, {"a": {}}, True):
            data = copy.deepcopy(sound)
            change(*path, to=value)(data)
            try:
                manifests.decode(json.dumps(data).encode(), "manifest.json")
            except FastgoError as error:
                assert "\n" not in error.message


def _paths(data: Any) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path for key, value in items for path in [(key,), *((key, *rest) for rest in _paths(value))]]
