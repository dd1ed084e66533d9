"""What a model needs is known before it is loaded, and one that can't fit is refused with the context that would."""

from __future__ import annotations

from pathlib import Path

import fastgo
import pytest
from fastgo.assets.repository import open_model
from fastgo.engine import fit
from fastgo.engine.devices import memory_in_use, open_device
from fastgo.engine.engine import Engine
from fastgo.engine.exact_head import planned_nbytes
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.errors import OutOfMemoryError
from fastgo.opening import open_engine
from hf_builder import write_hf


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
    found = fit.estimate(folder, context, fit.available_nbytes(device), device.heap_alignment, cache_dtype)
    assert found.total == pytest.approx(allocated(Engine(device, folder, cache_dtype), context), rel=0.05)


@pytest.mark.real
def test_the_estimate_of_a_real_model(gemma_gguf: Path) -> None:
    folder, device = open_model(gemma_gguf), open_device(None)
    index = planned_nbytes(device, folder)
    found = fit.estimate(folder, 1032, fit.available_nbytes(device), device.heap_alignment, head_index=index)
    assert found.total == pytest.approx(allocated(open_engine(device, folder), 1032), rel=0.05)


def test_a_model_that_can_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hf(tmp_path / "m", max_position_embeddings=4096)
    folder = open_model(tmp_path / "m")
    whole = fit.estimate(folder, 4096, 1 << 40, open_device(None).heap_alignment)
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
