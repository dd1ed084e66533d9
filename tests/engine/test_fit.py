"""What a model needs is known before it is loaded, and one that can't fit is refused with the context that would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import fastgo
import numpy as np
import pytest
from fastgo import _fastmetal
from fastgo.assets.repository import open_model
from fastgo.engine import fit
from fastgo.engine.devices import memory_in_use, open_device
from fastgo.engine.engine import Engine
from fastgo.engine.exact_head import planned_nbytes
from fastgo.engine.kv_cache import KvCache
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.engine.steps import Output, State, StepBuilder
from fastgo.errors import OutOfMemoryError
from fastgo.graph.plan import plan_arena
from fastgo.opening import open_engine
from hf_builder import tensors, write_hf


def allocated(engine: Engine, context: int) -> int:
    """Bytes that the device holds after two prompts; the cache has grown in the first, which drops its passes."""
    session = Session(engine, context)
    for _ in range(2):
        session.rewind(0)
        list(session.generate([1] * (context - 8), Sampling(), 8))
    return memory_in_use(engine.device)


@pytest.mark.parametrize("cache_dtype", [None, "bf16", "int8"])
@pytest.mark.parametrize("context", [400, 1032])
@pytest.mark.parametrize("architecture", ["gemma3", "qwen3"])
def test_the_estimate_is_what_a_run_allocates(
    tmp_path: Path, architecture: str, context: int, cache_dtype: str | None
) -> None:
    """Within 5 %; after prompts that fill the context but for the answer."""
    write_hf(tmp_path / "m", architecture, max_position_embeddings=4096)
    folder, device = open_model(tmp_path / "m"), open_device(None)
    found = fit.estimate(folder, context, device, cache_dtype)
    assert found.total == pytest.approx(allocated(Engine(device, folder, cache_dtype), context), rel=0.05)


@dataclass(frozen=True)
class MadeUpDevice:
    """A device that works as the one it is made of and says other things about itself."""

    real: _fastmetal.Device
    info: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def test_scratch_is_planned_as_the_device_records(tmp_path: Path) -> None:
    """GPUs keep other intermediate results: parts of attention and products, bfloats, copies of positions."""
    weights = {name: values.astype(np.float16) for name, values in tensors("qwen3").items()}
    write_hf(tmp_path / "m", "qwen3", weights, max_position_embeddings=4096)
    folder, cpu, context, rows = open_model(tmp_path / "m"), open_device("cpu"), 2048, (1, 512, 512)
    device = MadeUpDevice(cpu, {**cpu.info, "name": "softmetal CUDA, made up", "has_unified_memory": False})
    engine = Engine(cpu, folder)
    engine.device = cast(_fastmetal.Device, device)
    cache = KvCache(cpu, folder.config, context, engine.cache_dtype)
    builder = StepBuilder(engine, State(cpu, context), cache)
    arenas = [plan_arena(builder.graph(count, Output.LAST_LOGITS), cpu.heap_alignment).nbytes for count in rows]
    found = fit.estimate(folder, context, device)
    assert found.scratch == sum(arenas) + 4 * context
    assert found.scratch != fit.estimate(folder, context, cpu).scratch


@pytest.mark.real
def test_the_estimate_of_a_real_model(gemma_gguf: Path) -> None:
    folder, device = open_model(gemma_gguf), open_device(None)
    index = planned_nbytes(device, folder)
    found = fit.estimate(folder, 1032, device, head_index=index)
    assert found.total == pytest.approx(allocated(open_engine(device, folder), 1032), rel=0.05)


def test_a_model_that_can_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hf(tmp_path / "m", max_position_embeddings=4096)
    folder = open_model(tmp_path / "m")
    whole = fit.estimate(folder, 4096, open_device(None))
    monkeypatch.setattr(fit, "available_nbytes", lambda _: whole.total - whole.kv_cache // 2)
    with pytest.raises(OutOfMemoryError, match="with a context of 4096 tokens needs") as caught:
        fastgo.load(tmp_path / "m", context=4096)
    largest = int(caught.value.hint.split()[-2])
    assert 2000 < largest < 2100
    with fastgo.load(tmp_path / "m", context=largest) as model:
        assert model.context == largest
    with fastgo.load(tmp_path / "m") as model:
        assert model.context == largest
        assert len(list(model.generate_ids([1, 2, 3], 4))) == 4

    monkeypatch.setattr(fit, "available_nbytes", lambda _: folder.nbytes)
    with pytest.raises(OutOfMemoryError) as caught:
        fastgo.load(tmp_path / "m")
    assert "smaller model" in caught.value.hint
