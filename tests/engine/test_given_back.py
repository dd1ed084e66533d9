"""Memory that engines take is given back with them: none may be left over from each of them."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import pytest
from fastgo.assets.repository import open_model
from fastgo.engine.batch import Batch
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session

MODEL = Path(__file__).parent.parent / "goldens" / "gemma3.gguf"
ENGINES = 20
MOST_LEFT = 1024  # bytes an engine; lists that grow now and then, spread over all


class _MallInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks")
    ] + [("keepcost", ctypes.c_size_t)]


def allocated() -> int:
    """Bytes that malloc has given out."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("no mallinfo2 in this C library")
    mallinfo.restype = _MallInfo
    info = mallinfo()
    return int(info.uordblks) + int(info.hblkhd)


def use_an_engine() -> None:
    engine = Engine(open_device(None), open_model(MODEL))
    prompts = [[1, 2, 3], [4]]
    list(Batch(engine, 2, 64).generate(prompts, [Sampling()] * 2, 12))
    next(Batch(engine, 2, 64).generate(prompts, [Sampling()] * 2, 12))  # left with passes under way
    list(Session(engine, 64).generate([1] * 20, Sampling(), 4))


def test_engines_leave_nothing() -> None:
    for _ in range(5):
        use_an_engine()
    gc.collect()
    before = allocated()
    for _ in range(ENGINES):
        use_an_engine()
        gc.collect()
    assert allocated() - before < ENGINES * MOST_LEFT
