"""The table of formats: planar tensors mean bit for bit what the public gguf package says."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from fastgo.assets import quant
from fastgo.assets.gguf import GgufFile
from fastgo.errors import InvalidFileError, UnsupportedModelError
from gguf_builder import gguf_type, random_raw
from hypothesis import given, settings
from hypothesis import strategies as st

GGUF_NAMES = [row.name for row in quant.GGUF_FORMATS.values()]


def reference(format: str, raw: quant.Bytes) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(raw, gguf_type(format)).view(np.uint32)


@pytest.mark.parametrize("format", GGUF_NAMES)
def test_facts_agree_with_the_public_package(format: str) -> None:
    row = quant.FORMATS[format]
    assert row.gguf_type_id == gguf_type(format).value
    assert (row.block_size, row.gguf_block_nbytes) == gguf.GGML_QUANT_SIZES[gguf_type(format)]


@pytest.mark.parametrize("format", GGUF_NAMES)
@pytest.mark.parametrize("rows, columns", [(1, 256), (5, 512), (700, 768)])
def test_random_blocks_are_bit_identical(format: str, rows: int, columns: int) -> None:
    raw = random_raw(format, rows, columns, seed=rows)
    weights = quant.dequantize(format, quant.from_gguf(format, raw, rows, columns), rows, columns)
    np.testing.assert_array_equal(weights.view(np.uint32), reference(format, raw))


@pytest.mark.parametrize("model", ["gemma3", "smollm2"])
def test_real_tensors_are_bit_identical(real_gguf: dict[str, Path], model: str) -> None:
    with GgufFile.open(real_gguf[model]) as file:
        for tensor in list(file.tensors.values())[:30]:
            rows, columns = quant.matrix_shape(tensor.shape)
            rows = min(rows, 3000)
            raw = tensor.raw[: tensor.format.gguf_nbytes(rows, columns)].reshape(rows, -1)
            weights = quant.dequantize(tensor.format, quant.from_gguf(tensor.format, raw, rows, columns), rows, columns)
            np.testing.assert_array_equal(weights.view(np.uint32), reference(tensor.format.name, raw))
            del raw


@given(st.sampled_from(sorted(quant.FORMATS)), st.integers(1, 40), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_planes_are_aligned_and_in_order(format: str, rows: int, blocks: int) -> None:
    columns = blocks * quant.FORMATS[format].block_size
    planes = quant.layout(format, rows, columns)
    end = 0
    for plane in planes:
        assert plane.offset % 64 == 0
        assert end <= plane.offset < end + 64
        assert plane.nbytes == plane.shape[0] * plane.shape[1] * plane.numpy_dtype.itemsize
        end = plane.offset + plane.nbytes
    total = quant.total_nbytes(format, rows, columns)
    assert total % 64 == 0
    assert end <= total < end + 64


@pytest.mark.parametrize("format", GGUF_NAMES)
def test_padding_is_zero(format: str) -> None:
    raw = np.full_like(random_raw(format, 3, 256), 255)
    planar = quant.from_gguf(format, raw, 3, 256)
    for plane in quant.layout(format, 3, 256):
        planar[plane.offset : plane.offset + plane.nbytes] = 0
    assert not planar.any()


def test_planes_hold_what_kernels_expect() -> None:
    raw = random_raw("q6_k", 2, 512)
    views = quant.plane_views("q6_k", quant.from_gguf("q6_k", raw, 2, 512), 2, 512)
    d = np.repeat(views["super_scales"].astype(np.float32), 256, axis=1)
    scale = np.repeat(views["scales"].astype(np.float32), 16, axis=1)
    for column in (0, 15, 16, 31, 32, 200, 300, 511):
        block, j = divmod(column, 32)
        q = views["low"][:, block * 16 + j % 16] >> (4 * (j // 16)) & 15
        for bit in range(2):
            q = q | ((views["high"][:, 2 * block + bit] >> j & 1) << (4 + bit)).astype(np.uint8)
        with np.errstate(all="ignore"):
            value = d[:, column] * scale[:, column] * (q.astype(np.float32) - 32)
        np.testing.assert_array_equal(value.view(np.uint32), reference("q6_k", raw)[:, column])


def test_shapes_that_do_not_suit_are_refused() -> None:
    for rows, columns in [(0, 256), (1, 0), (1, -32), (2, 128)]:
        with pytest.raises(InvalidFileError, match="can't have shape"):
            quant.layout("q4_k", rows, columns)
    with pytest.raises(InvalidFileError, match="expected 288"):
        quant.from_gguf("q4_k", np.zeros(287, np.uint8), 2, 256)
    with pytest.raises(InvalidFileError, match="planar tensor has 5 bytes"):
        quant.dequantize("f32", np.zeros(5, np.uint8), 1, 1)
    with pytest.raises(UnsupportedModelError, match="q9_9"):
        quant.layout("q9_9", 1, 1)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("group", [0, 32, 64, 128])
@pytest.mark.parametrize("has_zeros", [False, True])
def test_own_formats_mean_what_they_say(bits: int, group: int, has_zeros: bool) -> None:
    """scale * (q - zero), weight by weight."""
    name = f"int{bits}_{f'g{group}' if group else 'channel'}{'_zero' if has_zeros else ''}"
    rows, columns = 3, 384
    planar = np.zeros(quant.total_nbytes(name, rows, columns), np.uint8)
    views = quant.plane_views(name, planar, rows, columns)
    rng = np.random.default_rng(bits)
    for view in views.values():
        view[...] = rng.uniform(-1, 1, view.shape) if view.dtype == np.float16 else rng.integers(0, 100, view.shape)
    weights = quant.dequantize(name, planar, rows, columns)
    for row, column in ((0, 0), (1, 17), (2, 383), (1, 200), (0, 128)):
        block, j = divmod(column, 32)
        q = views["low"][row, column] if bits == 8 else views["low"][row, block * 16 + j % 16] >> (4 * (j // 16)) & 15
        index = column // group if group else 0
        zero = int(views["zeros"][row, index]) if has_zeros else {8: 0, 4: 8}[bits]
        assert weights[row, column] == np.float32(views["scales"][row, index]) * np.float32(int(q) - zero)
    assert quant.FORMATS[name].kernel == f"int{bits}"
