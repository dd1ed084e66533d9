"""A model's float32 twin whose rounding of before does not come back when it is rounded again.

Public models at hand are 4-bit files already. Rounded again block by block they would give their own blocks back, and
nothing would be measured. So the twin has its channels in another order: those of the residual stream, of the
feed-forward network and of each head's values. It computes the same function, and no block of it is one of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fastgo.assets.convert import convert
from fastgo.assets.folder_source import open_folder_source
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.quant import FORMATS, Array, Float32s
from fastgo.assets.source import SourceTensor
from fastgo.models.config import ModelConfig

Order = npt.NDArray[np.int64]
_SEED = 11
_READ_HIDDEN = ("embed_tokens", "lm_head", "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
_WRITE_HIDDEN = ("o_proj", "down_proj")


def write_twin(folder: ModelFolder, out: Path) -> ModelFolder:
    """Make the model folder `out`, all weights float32. Dense models only. Raises as `convert`."""
    orders = _orders(folder.config)
    weights = lru_cache(maxsize=1)(folder.weights)  # a tensor is read in pieces, one tensor after the other
    source = open_folder_source(folder.path)
    tensors = tuple(
        SourceTensor(tensor.name, FORMATS["f32"], tensor.shape, _reader(weights, tensor, orders))
        for tensor in source.tensors
    )
    convert(replace(source, tensors=tensors), out, jobs=1)
    return ModelFolder.open(out)


def _orders(config: ModelConfig) -> Mapping[str, Order]:
    """Permutations of the residual stream, of the hidden units, and of keys' heads times values."""
    rng = np.random.default_rng(_SEED)
    within = [rng.permutation(config.head_dim) for _ in range(config.num_key_value_heads)]
    group = config.num_attention_heads // config.num_key_value_heads
    return {
        "hidden": rng.permutation(config.hidden_size),
        "units": rng.permutation(config.intermediate_size),
        "values": np.concatenate([index * config.head_dim + order for index, order in enumerate(within)]),
        "heads": np.concatenate(
            [head * config.head_dim + within[head // group] for head in range(config.num_attention_heads)]
        ),
    }


def _reader(
    whole: Callable[[str], Float32s], tensor: SourceTensor, orders: Mapping[str, Order]
) -> Callable[[slice], Mapping[str, Array]]:
    row_order, column_order = _orders_of(tensor.name.split(".")[-2], orders)

    def read(rows: slice) -> Mapping[str, Array]:
        weights = whole(tensor.name).reshape(tensor.matrix_shape)
        start, stop, _ = rows.indices(len(weights))
        wanted = np.arange(start, stop) if row_order is None else row_order[start:stop]
        part = weights[wanted]
        return {"low": np.ascontiguousarray(part if column_order is None else part[:, column_order])}

    return read


def _orders_of(part: str, orders: Mapping[str, Order]) -> tuple[Order | None, Order | None]:
    """Of the rows and of the columns of a tensor."""
    rows = {"gate_proj": "units", "up_proj": "units", "v_proj": "values"}.get(part)
    if part in _WRITE_HIDDEN:
        rows = "hidden"
    columns = {"o_proj": "heads", "down_proj": "units"}.get(part)
    if part in _READ_HIDDEN or (part.endswith("norm") and part not in ("q_norm", "k_norm")):
        columns = "hidden"
    return orders.get(rows or ""), orders.get(columns or "")
