"""Quantisers: within the theoretical bound of their levels, no worse than the public ones, nothing odd at the edges."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from fastgo.assets.quant import FORMATS, SUB_BLOCK, dequantize, dequantize_planes, layout, plane_views, total_nbytes
from fastgo.assets.quantize import quantize
from fastgo.errors import InvalidFileError
from gguf_builder import gguf_type

QUANTISED = [name for name, row in FORMATS.items() if row.gguf_type_id is not None and row.is_quantised]
OWN = [name for name, row in FORMATS.items() if row.group_size is not None]
_LEVELS = {"q8_0": 127, "q4_0": 15, "q4_1": 15, "q5_0": 31, "q5_1": 31, "q4_k": 15, "q5_k": 31, "q6_k": 63}


def weights(rows: int = 16, columns: int = 1024, seed: int = 0) -> np.ndarray:
    """Like real ones: normal, with a different size for each row and a few outliers."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, columns)) * rng.uniform(0.01, 0.1, (rows, 1))
    values[rng.random(values.shape) < 0.002] *= 6
    return values.astype(np.float32)


def round_trip(name: str, values: np.ndarray) -> np.ndarray:
    return dequantize_planes(name, quantize(FORMATS[name], values))


@pytest.mark.parametrize("name", FORMATS)
def test_planes_have_their_shapes(name: str) -> None:
    planes = quantize(FORMATS[name], weights())
    for plane in layout(name, 16, 1024):
        assert (planes[plane.role].shape, planes[plane.role].dtype) == (plane.shape, plane.numpy_dtype)


@pytest.mark.parametrize("name", FORMATS)
def test_planes_make_a_tensor(name: str) -> None:
    planar = np.zeros(total_nbytes(name, 16, 1024), np.uint8)
    planes = quantize(FORMATS[name], weights())
    for role, view in plane_views(name, planar, 16, 1024).items():
        view[...] = planes[role]
    np.testing.assert_array_equal(dequantize(name, planar, 16, 1024), dequantize_planes(name, planes))


@pytest.mark.parametrize("name", QUANTISED)
def test_error_is_within_the_bound(name: str) -> None:
    """A plain cut of a block's range into levels is off by half a level at most; 2 x its mean square is generous."""
    values = weights()
    blocks = values.reshape(-1, 16 if name == "q6_k" else SUB_BLOCK)
    reach = 2 * np.abs(blocks).max(axis=1) if name in ("q8_0", "q4_0", "q5_0", "q6_k") else np.ptp(blocks, axis=1)
    step = reach / (254 if name == "q8_0" else _LEVELS[name])
    error = (round_trip(name, values) - values).reshape(blocks.shape)
    assert (np.square(error).mean(axis=1) <= 2 * np.square(step) / 12).mean() > 0.99
    assert np.abs(error).max() <= 2 * step.max()


def test_eight_bits_round_to_the_nearest() -> None:
    values = weights()
    scale = np.repeat(np.abs(values.reshape(-1, 32)).max(axis=1) / 127, 32).reshape(values.shape)
    assert (np.abs(round_trip("q8_0", values) - values) <= scale * 0.5 * 1.01 + 127 * scale * 2**-11).all()


@pytest.mark.parametrize("name", ["q8_0", "q4_0", "q4_1", "q5_0", "q5_1"])
def test_no_worse_than_the_public_quantisers(name: str) -> None:
    values = weights()
    public = gguf.quants.dequantize(gguf.quants.quantize(values, gguf_type(name)), gguf_type(name)).reshape(
        values.shape
    )
    ours = np.square(round_trip(name, values) - values).mean()
    assert ours <= np.square(public - values).mean() * 1.001


def test_finer_formats_are_better() -> None:
    values = weights()
    order = ["q4_0", "q4_k", "q5_0", "q5_k", "q6_k", "q8_0", "bf16", "f16"]
    errors = [np.square(round_trip(name, values) - values).mean() for name in order]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-30, 0.5, -3.0])
def test_constant_rows(name: str, value: float) -> None:
    values = np.full((2, 256), value, np.float32)
    np.testing.assert_allclose(round_trip(name, values), values, rtol=0.01, atol=1e-6)


@pytest.mark.parametrize("name", QUANTISED)
def test_one_large_weight_and_one_sided_blocks(name: str) -> None:
    values = np.zeros((3, 256), np.float32)
    values[0, 7] = -11.0
    values[1] = np.linspace(1, 2, 256)
    values[2] = -np.linspace(1, 2, 256)
    assert np.abs(round_trip(name, values) - values).max() < 0.35


@pytest.mark.parametrize("name", FORMATS)
def test_rows_are_independent(name: str) -> None:
    values = weights()
    whole = quantize(FORMATS[name], values)
    part = quantize(FORMATS[name], values[5:9])
    for role, plane in whole.items():
        np.testing.assert_array_equal(plane[5:9], part[role])


def test_bfloat16_rounds_to_the_nearest_even() -> None:
    bits = np.array([[0x3F808000, 0x3F818000, 0x3F808001, 0xBF807FFF, 0x00000001, 0x7F7FFFFF]], np.uint32)
    found = quantize(FORMATS["bf16"], bits.view(np.float32))["low"]
    np.testing.assert_array_equal(found, [[0x3F80, 0x3F82, 0x3F81, 0xBF80, 0, 0x7F80]])


@pytest.mark.parametrize("name", ["f16", "q4_0", "q4_1"])
def test_too_large_for_float16(name: str) -> None:
    with pytest.raises(InvalidFileError, match="too large for float16"):
        quantize(FORMATS[name], np.full((1, 32), 1e7, np.float32) * np.linspace(-1, 1, 32, dtype=np.float32))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("offset", [0.0, 0.3, -2.0])
def test_own_formats_are_off_by_half_a_step(name: str, offset: float) -> None:
    """The theoretical bound, for ranges around zero and beside it; float16 makes a step larger by 2^-10 at most."""
    row = FORMATS[name]
    values = weights() + np.float32(offset)
    groups = values.reshape(-1, row.group_size or values.shape[1])
    largest, smallest = np.maximum(groups.max(axis=1), 0), np.minimum(groups.min(axis=1), 0)
    levels = 255 if row.kernel == "int8" else 15
    steps = (largest - smallest) / levels if name.endswith("_zero") else np.abs(groups).max(axis=1) / (levels // 2)
    error = np.abs(round_trip(name, values) - values).reshape(groups.shape)
    assert (error <= 0.5 * steps[:, None] * (1 + 2**-9) + 1e-6).all()


def test_a_zero_point_helps_one_sided_weights() -> None:
    values = np.abs(weights())
    for name in OWN[::2]:
        plain, shifted = (np.square(round_trip(n, values) - values).mean() for n in (name, f"{name}_zero"))
        assert shifted < 0.5 * plain


def test_importance_moves_the_error_to_columns_that_count_less() -> None:
    values = weights()
    importance = np.where(np.arange(values.shape[1]) % 4 == 0, 100, 1).astype(np.float32)
    for name in ("q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k", "int4_g32", "int4_g64_zero"):
        weighted = dequantize_planes(name, quantize(FORMATS[name], values, importance))
        plain_error, error = (
            (importance * np.square(found - values)).sum() for found in (round_trip(name, values), weighted)
        )
        assert error < plain_error, name


def test_a_search_finds_the_scale_of_weights_that_are_already_rounded() -> None:
    """Integers times a scale that float16 holds come back exactly."""
    integers = np.random.default_rng(3).integers(-8, 8, (8, 256)).astype(np.float32)
    integers[:, ::32], integers[:, 1::32] = -8, 7
    for name in ("q4_0", "q4_1", "int4_g32_zero"):
        np.testing.assert_array_equal(round_trip(name, integers * np.float32(0.0625)), integers * np.float32(0.0625))
