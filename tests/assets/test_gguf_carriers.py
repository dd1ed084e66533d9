"""GGUF types without a kernel of their own: what carries them means the same as the public gguf package's weights."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from fastgo.assets import gguf_names
from fastgo.assets.convert import import_model
from fastgo.assets.gguf_carriers import GGUF_CARRIERS
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.quant import Bytes, dequantize_planes
from fastgo.errors import InvalidFileError
from gguf_builder import gguf_type, model_tensors, random_raw, write_model

BY_NAME = {carrier.name: carrier for carrier in GGUF_CARRIERS.values()}
EXACT = ["q3_k", "iq4_nl", "tq1_0", "tq2_0", "mxfp4"]
SCALES_AT = {"q2_k": (80, 82), "q3_k": (108,), "iq4_nl": (0,), "iq4_xs": (0,), "tq1_0": (52,), "tq2_0": (64,)}


def blocks(format: str, rows: int, columns: int, seed: int = 0) -> Bytes:
    """Random blocks whose scales are moderate: uint8 (rows, bytes of a row)."""
    raw = random_raw(format, rows, columns, seed).reshape(-1, BY_NAME[format].gguf_block_nbytes)
    rng = np.random.default_rng(seed)
    for start in SCALES_AT.get(format, ()):
        scales = rng.uniform(-0.1, 0.1, (len(raw), 1)).astype(np.float16)
        raw[:, start : start + 2] = scales.view(np.uint8)
    if format == "mxfp4":
        raw[:, 0] = rng.integers(104, 147, len(raw))
    return raw.reshape(rows, -1)


def ours(format: str, raw: Bytes, columns: int) -> np.ndarray:
    carrier = BY_NAME[format]
    return dequantize_planes(carrier.format, carrier.planes(raw, columns))


def public(format: str, raw: Bytes) -> np.ndarray:
    with np.errstate(all="ignore"):
        weights: np.ndarray = gguf.quants.dequantize(raw, gguf_type(format))
    return weights


def test_facts_of_carried_types() -> None:
    for carrier in BY_NAME.values():
        assert carrier.gguf_type_id == gguf_type(carrier.name).value
        assert (carrier.block_size, carrier.gguf_block_nbytes) == gguf.GGML_QUANT_SIZES[gguf_type(carrier.name)]


@pytest.mark.parametrize("format", EXACT)
@pytest.mark.parametrize("rows, columns", [(1, 256), (7, 768)])
def test_exact_carriers_are_bit_identical(format: str, rows: int, columns: int) -> None:
    raw = blocks(format, rows, columns, seed=rows)
    np.testing.assert_array_equal(ours(format, raw, columns).view(np.uint32), public(format, raw).view(np.uint32))


@pytest.mark.parametrize("format", ["q3_k", "iq4_nl", "tq1_0", "tq2_0"])
def test_scales_that_are_not_numbers_stay_so(format: str) -> None:
    raw = random_raw(format, 200, 512)
    np.testing.assert_array_equal(ours(format, raw, 512), public(format, raw))


def test_iq4_xs_rounds_its_scales() -> None:
    raw = blocks("iq4_xs", 9, 1024)
    expected = public("iq4_xs", raw)
    np.testing.assert_allclose(ours("iq4_xs", raw, 1024), expected, rtol=2**-11, atol=127 * 2**-25)
    assert (ours("iq4_xs", raw, 1024) != expected).any()


def test_q2_k_is_off_by_half_a_step_at_most() -> None:
    raw = blocks("q2_k", 9, 1024)
    expected = public("q2_k", raw).reshape(-1, 32)
    # Half a step of 1/127 of the largest weight, and the scale's own rounding at 127 steps.
    bound = np.abs(expected).max(axis=1, keepdims=True) * (0.5 / 127 + 2**-11) + 127 * 2**-25
    assert (np.abs(ours("q2_k", raw, 1024).reshape(-1, 32) - expected) <= bound).all()


def test_mxfp4_below_the_range_of_float16() -> None:
    raw = blocks("mxfp4", 1, 32 * 104).reshape(-1, 17)
    raw[:, 0] = np.arange(104)
    expected = public("mxfp4", raw.reshape(1, -1))
    assert np.abs(ours("mxfp4", raw.reshape(1, -1), 32 * 104) - expected).max() <= 2**-25
    raw[:, 0], raw[:, 1:] = 255, 0x80  # zero at any scale
    assert not ours("mxfp4", raw.reshape(1, -1), 32 * 104).any()


@pytest.mark.parametrize("format", ["q2_k", "iq4_xs", "mxfp4"])
def test_weights_that_do_not_fit_are_one_clear_error(format: str) -> None:
    raw = np.full_like(blocks(format, 1, 256), 0x77)
    scale = {"q2_k": 80, "iq4_xs": 0}.get(format)
    if scale is None:
        raw[0, 0] = 147
    else:
        raw[0, scale : scale + 2] = np.frombuffer(struct.pack("<H", 0x7BFF if format == "iq4_xs" else 0x7C00), np.uint8)
    with pytest.raises(InvalidFileError) as caught:
        BY_NAME[format].planes(raw, 256)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_an_error_names_the_tensor(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    tensors = model_tensors("qwen3", ("mxfp4",))
    write_model(path, "qwen3", tensors=tensors, raw_of=lambda *facts: random_raw(*facts) | np.uint8(0xC3))
    with pytest.raises(InvalidFileError, match=r"tensor 'blk\.0\.attn_q\.weight' of type mxfp4: .* exponent"):
        import_model(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_import_carries_them_and_says_so(tmp_path: Path) -> None:
    path, formats = tmp_path / "m.gguf", tuple(BY_NAME)
    raws = write_model(path, "qwen3", tensors=model_tensors("qwen3", formats), raw_of=blocks_or_random)
    said: set[str] = set()
    manifest = import_model(path, tmp_path / "out", lambda _done, _total, what: said.add(what))
    again = import_model(path, tmp_path / "again")
    assert [shard.sha256 for shard in manifest.shards] == [shard.sha256 for shard in again.shards]
    folder = ModelFolder.open(tmp_path / "out")
    for name, (format, shape) in model_tensors("qwen3", formats).items():
        if format not in BY_NAME:
            continue
        key = gguf_names.hugging_face_name(name, manifest.config, "")
        assert folder.tensors[key].format == BY_NAME[format].format.name
        expected = public(format, raws[name]).reshape(shape)
        if format in EXACT:
            np.testing.assert_array_equal(folder.weights(key), expected)
        else:
            assert np.abs(folder.weights(key) - expected).max() <= 0.005 * np.abs(expected).max()
    line = "2 q2_k as q8_0 (requantised), 2 q3_k as q6_k (exact)"
    assert "mxfp4 as q8_0 (exact down to 2^-24)" in manifest.provenance.recipe
    assert line in manifest.provenance.recipe
    assert any(what.startswith("importing m.gguf: ") and line in what for what in said)


def blocks_or_random(format: str, rows: int, columns: int, seed: int) -> Bytes:
    return blocks(format, rows, columns, seed) if format in BY_NAME else random_raw(format, rows, columns, seed)
