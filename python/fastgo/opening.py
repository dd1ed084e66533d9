"""Opening a model on a device; the first time, its output head's index is made where it pays, and kept beside it.

docs/exact_head.md tells what the index is for.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from fastgo import _fastmetal
from fastgo.assets import head_index, quant
from fastgo.assets.head_index import Spread
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.storage import Progress
from fastgo.engine import exact_head
from fastgo.engine.engine import Engine
from fastgo.engine.pass_graph import MAX_ROWS
from fastgo.engine.session import Session
from fastgo.text import usual_text
from fastgo.text.tokenizer import Tokenizer


def open_engine(
    device: _fastmetal.Device, folder: ModelFolder, cache_dtype: str | None = None, progress: Progress | None = None
) -> Engine:
    """An engine with its exact output head where that pays. Raises as Engine and Tokenizer.load do."""
    engine = Engine(device, folder, cache_dtype)
    tokenizer = folder.manifest.tokenizer
    is_missing = engine.exact_head is None and exact_head.planned_nbytes(device, folder) > 0
    if not is_missing or tokenizer is None:
        return engine
    if progress:
        progress(0, exact_head.file_nbytes(folder), "preparing the output head")
    with suppress(OSError):  # a full disk, for one: decode works without
        ids = Tokenizer.load(folder.path, tokenizer).encode_prompt(usual_text.TEXT)
        make_index(engine, ids[: engine.config.max_position_embeddings])
        engine = Engine(device, folder, cache_dtype)
    if progress:
        progress(1, 1, "preparing the output head")
    return engine


def make_index(engine: Engine, ids: list[int]) -> None:
    """Makes the index of an engine's output head from the hidden states of a text. Raises OSError."""
    folder, entry = engine.folder, exact_head.head_entry(engine.folder)
    session = Session(engine, len(ids))
    pieces = [session.states(ids[begin : begin + MAX_ROWS]) for begin in range(0, len(ids), MAX_ROWS)]
    planes = quant.plane_views(entry.format, folder.planar(exact_head.head_name(folder)), *entry.matrix_shape)
    exact_head.write(folder, head_index.build(planes, Spread.of(np.concatenate(pieces))))
