"""Every format of the key/value cache: close to float32's logits, through prefill, decode and growth, in its size."""

from __future__ import annotations

from pathlib import Path

import fastgo
import numpy as np
import numpy.typing as npt
import pytest
from fastgo import tolerances
from fastgo.assets.repository import open_model
from fastgo.engine import fit
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.kv_cache import KvCache
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.errors import UsageError
from fastgo.ops.cache_format import CACHE_FORMATS, check_cache_format
from hf_builder import write_hf

GOLDENS = Path(__file__).parent.parent / "goldens"
MODELS = ["gemma3", "qwen3"]


def ids_of(count: int) -> list[int]:
    return [(7 * i + i * i // 3) % 90 + 1 for i in range(count)]


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def session_of(model: str, dtype: str) -> Session:
    return Session(Engine(open_device(None), open_model(GOLDENS / f"{model}.gguf"), dtype))


@pytest.mark.parametrize("dtype", CACHE_FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_logits_are_close_to_those_of_a_float32_cache(model: str, dtype: str) -> None:
    """Of a prefill, and of rows that follow one at a time."""
    ids = ids_of(70)
    want = session_of(model, "f32").all_logits(ids)
    session = session_of(model, dtype)
    got = session.all_logits(ids[:60])
    rows = [session.logits([token]) for token in ids[60:]]
    expected, found = log_softmax(want), log_softmax(np.concatenate([got, rows]))
    divergence = float((np.exp(expected) * (expected - found)).sum(axis=-1).max())
    print(f"worst kl {model} {dtype} {divergence:.2g}")
    assert divergence <= tolerances.CACHE_KL[dtype]


@pytest.mark.parametrize("dtype", CACHE_FORMATS)
def test_a_grown_cache_keeps_what_it_held(dtype: str) -> None:
    ids = ids_of(505)
    growing, large = session_of("qwen3", dtype), session_of("qwen3", dtype)
    large.prefill(ids_of(600))
    large.rewind(0)
    assert list(growing.generate(ids, Sampling(), 20)) == list(large.generate(ids, Sampling(), 20))
    np.testing.assert_array_equal(growing.logits([3]), large.logits([3]))


def test_the_sizes_of_caches(tmp_path: Path) -> None:
    """A narrower format takes its share of float32's bytes, and the estimate says so."""
    write_hf(tmp_path / "m", "gemma3", max_position_embeddings=4096)
    folder, device = open_model(tmp_path / "m"), open_device(None)
    rows = 2 * 2 * 2 * 4096  # layers, keys and values, heads, tokens
    sizes = {"f32": 128, "f16": 64, "bf16": 64, "int8": 32 + 2, "int4": 16 + 2}  # of 32 elements
    assert set(sizes) == set(CACHE_FORMATS)
    for dtype, row_nbytes in sizes.items():
        nbytes = rows * row_nbytes
        assert fit.estimate(folder, 4096, device, dtype).kv_cache == nbytes
        assert KvCache(device, folder.config, 4096, dtype).nbytes == nbytes


def test_the_default_and_a_wrong_name() -> None:
    model = GOLDENS / "qwen3.gguf"
    device, folder = open_device(None), open_model(model)
    all_float32 = all(entry.format == "f32" for entry in folder.tensors.values())
    assert Engine(device, folder).cache_dtype == ("f32" if all_float32 else "f16")
    with pytest.raises(UsageError, match=r"int4 needs heads of a multiple of 4 elements, this model's have 6"):
        check_cache_format("int4", 6)
    with pytest.raises(UsageError, match=r"no key/value cache in 'q3', expected one of f16, bf16, f32, int8, int4"):
        fastgo.load(model, kv_cache="q3")
    with pytest.raises(UsageError, match="no key/value cache"):
        Engine(device, folder, "f64")
    with fastgo.load(model, kv_cache="bf16") as llm:
        assert llm._engine is not None
        assert llm._engine.cache_dtype == "bf16"
        assert len(list(llm.generate_ids([1, 2, 3], 4))) == 4
