"""Decode with the exact output head: the tokens of the whole product, for those samplings that need few logits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.repository import open_model
from fastgo.engine import exact_head
from fastgo.engine.devices import has_vnni, open_device
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.engine.steps import Output
from fastgo.opening import open_engine

PROMPT = [2, 651, 6037, 576, 6081, 603]
SAMPLINGS = [Sampling(), Sampling(temperature=1.0, top_k=20, top_p=0.95, seed=7), Sampling(temperature=0.8, top_k=5)]
OTHERS = [Sampling(temperature=1.0, seed=1), Sampling(repetition_penalty=1.2), Sampling(logprobs=2)]


def open_folder(gguf: Path) -> ModelFolder:
    if not has_vnni(open_device("cpu").info):
        pytest.skip("the exact head is not used on this processor")
    return open_model(gguf)


@pytest.fixture
def folder(gemma_gguf: Path) -> ModelFolder:
    return open_folder(gemma_gguf)


def tokens(engine: Engine, sampling: Sampling, count: int) -> list[int]:
    return list(Session(engine, 512).generate(PROMPT, sampling, count))


def nodes(engine: Engine, sampling: Sampling) -> list[str]:
    """The operations of a decode pass."""
    session = Session(engine, 512)
    list(session.generate(PROMPT, sampling, 2))
    return [node.op.name for node in session._builder.graph(1, Output.NEXT_TOKEN).nodes]


@pytest.mark.real
@pytest.mark.parametrize("gguf", ["gemma_gguf", "smollm2_gguf"])
def test_the_tokens_are_those_of_the_whole_product(
    gguf: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, device = open_folder(request.getfixturevalue(gguf)), open_device("cpu")
    engine = open_engine(device, folder)
    assert engine.exact_head is not None
    monkeypatch.setenv("FASTGO_EXACT_HEAD", "0")
    whole = open_engine(open_device("cpu"), folder)
    assert whole.exact_head is None
    for sampling in SAMPLINGS:
        assert "exact_head" in nodes(engine, sampling) and "exact_head" not in nodes(whole, sampling)
        assert tokens(engine, sampling, 220) == tokens(whole, sampling, 220)
    for sampling in OTHERS:
        assert "exact_head" not in nodes(engine, sampling)


@pytest.mark.real
def test_a_foreign_or_damaged_index_is_not_used(folder: ModelFolder, tmp_path: Path) -> None:
    device = open_device("cpu")
    assert open_engine(device, folder).exact_head is not None
    copied = tmp_path / "model"
    shutil.copytree(folder.path, copied)
    model = ModelFolder.open(copied)
    index = copied / exact_head.FILE_NAME
    assert exact_head.is_made(model)
    whole = index.read_bytes()
    index.write_bytes(whole[:-64])
    assert not exact_head.is_made(model) and Engine(device, model).exact_head is None
    page = np.frombuffer(whole, np.uint8).copy()
    page[30] ^= 1
    index.write_bytes(page.tobytes())
    assert not exact_head.is_made(model)


def test_small_models_do_without(engine: Engine) -> None:
    assert exact_head.planned_nbytes(engine.device, engine.folder) == 0
    assert engine.exact_head is None


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [(Sampling(), 1), (Sampling(top_k=9), 1), (Sampling(temperature=1.0), 0), (Sampling(temperature=1.0, top_k=9), 9)],
)
def test_how_many_logits_a_sampling_needs(sampling: Sampling, wanted: int) -> None:
    assert sampling.wanted_logits == wanted
