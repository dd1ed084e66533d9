"""Which columns of a model's matrices matter: how large their inputs are when the model reads a text.

A weight's rounding error reaches the output times its column's input, so the mean square of that input is what its
squared error should count (the diagonal of the layer's Hessian, as in Frantar et al. 2022, "GPTQ").

A text says little about columns that it hardly uses, and a short text little about any. So each matrix is taken to have
seen some tokens before, on which all columns count the same.

Units: the mean square of each matrix' inputs is 1 on average over its columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastgo import evaluation
from fastgo.assets import repository
from fastgo.assets.importance import Importance
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.quant import Float32s
from fastgo.assets.storage import Progress
from fastgo.engine.devices import device_errors, open_device, parallel_width
from fastgo.engine.engine import Engine
from fastgo.engine.kv_cache import KvCache
from fastgo.engine.pass_graph import add_forward_pass
from fastgo.engine.steps import State, StepBuilder, read_floats
from fastgo.errors import UnsupportedModelError
from fastgo.graph.dag import Graph, Node
from fastgo.graph.passes import eliminate_dead_nodes
from fastgo.ops.matmul import MATMUL
from fastgo.ops.moe_matmul import MOE_MATMUL
from fastgo.text.tokenizer import Tokenizer

_MAX_TOKENS = 1 << 14
_ID_NBYTES = 4
_PRIOR_TOKENS = 512  # on which all columns count the same
_STEPS_PER_OCTAVE = 8  # so that devices that round another way find the same


def source_importance(source: Path, text: str, progress: Progress | None = None) -> Importance:
    """As `column_importance`, of what a conversion reads: run as it is, from the cache unless it is a model folder."""
    return column_importance(repository.open_model(source, progress), text, progress=progress)


def column_importance(
    folder: ModelFolder, text: str, device: str | None = None, progress: Progress | None = None
) -> Importance:
    """What the squared error of each column's weights counts when a model reads `text`.

    All experts of a layer share theirs. The first 16,384 tokens of the text are read, in windows; `progress` is told
    bytes of token ids.
    Raises UsageError if there are fewer than two, UnsupportedModelError if the model came without a tokenizer.
    """
    if folder.manifest.tokenizer is None:
        raise UnsupportedModelError(
            f"model {folder.name} has no tokenizer to calibrate with", hint="convert it without"
        )
    tokenizer = Tokenizer.load(folder.path, folder.manifest.tokenizer)
    ids = tokenizer.encode_prompt(text)[:_MAX_TOKENS]
    windows = evaluation.windows(ids, tokenizer, folder.config.max_position_embeddings)
    return Importance(importance_in_windows(folder, windows, device, progress), text_sha256(text))


def text_sha256(text: str) -> str:
    """By which a folder's provenance names the text that it was calibrated with."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def importance_in_windows(
    folder: ModelFolder,
    windows: Sequence[Sequence[int]],
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Float32s]:
    """As `Importance.counts`, from windows of token ids; those of another length than the first are left out."""
    length = len(windows[0])
    whole = [window for window in windows if len(window) == length]
    with device_errors():
        reader = _Reader(Engine(open_device(device), folder), length)
        squares = reader.mean_squares(whole, progress)
    return {name: _importance(values, length * len(whole)) for name, values in squares.items()}


def _importance(squares: npt.NDArray[np.float64], tokens: int) -> Float32s:
    mean = squares.mean()
    if not mean > 0:
        return np.ones(squares.shape, np.float32)
    relative = (tokens * squares / mean + _PRIOR_TOKENS) / (tokens + _PRIOR_TOKENS)
    counts: Float32s = np.exp2(np.rint(np.log2(relative) * _STEPS_PER_OCTAVE) / _STEPS_PER_OCTAVE).astype(np.float32)
    return counts


class _Reader:
    """One recorded pass over `rows` tokens that leaves the inputs of all matrices."""

    def __init__(self, engine: Engine, rows: int) -> None:
        self._device = engine.device
        self._rows = rows
        self._state = State(engine.device, rows)
        cache = KvCache(engine.device, engine.config, rows, engine.cache_dtype)
        graph = Graph(parallel_width(engine.device.info), bool(engine.device.info["has_unified_memory"]))
        add_forward_pass(
            graph, engine.config, engine.weight_facts, cache.shape, cache.dtype, rows, output_rows=range(rows)
        )
        self._products: list[Node] = [node for node in graph.nodes if node.op in (MATMUL, MOE_MATMUL)]
        graph.results = [node.inputs["x"] for node in self._products]
        eliminate_dead_nodes(graph)  # the head's product above all
        self._lowering = StepBuilder(engine, self._state, cache).lowering(graph)
        self._program = self._lowering.record(f"calibration x {rows}")

    def mean_squares(
        self, windows: Sequence[Sequence[int]], progress: Progress | None
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Of each column's inputs over all tokens, by the matrix' name."""
        sums: dict[str, npt.NDArray[np.float64]] = {}
        self._state.positions[: self._rows] = np.arange(self._rows)
        for number, window in enumerate(windows):
            if progress:
                progress(_ID_NBYTES * number * self._rows, _ID_NBYTES * len(windows) * self._rows, "reading the text")
            self._state.tokens[: self._rows] = window
            self._device.submit([self._program]).wait()
            squares: dict[int, npt.NDArray[np.float64]] = {}
            for node in self._products:
                x = node.inputs["x"]
                if id(x) not in squares:
                    values = read_floats(self._device, self._lowering.memory(x), x.shape).reshape(-1, x.shape[-1])
                    squares[id(x)] = np.square(values, dtype=np.float64).mean(axis=0)
                name = node.inputs["weight"].name
                sums[name] = sums.get(name, 0) + squares[id(x)] / len(windows)
        return sums
