"""Shards: the public library reads what we write; each kind of damaged header is one clear error."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastgo.assets import quant
from fastgo.assets.safetensors import DATA_ALIGNMENT, ShardWriter, TensorPlan, read_header
from fastgo.errors import FastgoError, InvalidFileError
from gguf_builder import random_raw
from safetensors import safe_open

SHAPE = (3, 256)


def write_shard(path: Path) -> tuple[dict[str, quant.Bytes], dict[str, int]]:
    """One tensor of each format and a vector; returns planar bytes and file offsets by name."""
    plans = [TensorPlan(f"t.{name}", row, SHAPE) for name, row in quant.FORMATS.items()]
    plans.append(TensorPlan("norm", quant.FORMATS["f32"], (7,)))
    planars, offsets = {}, {}
    with ShardWriter(path, plans) as writer:
        for seed, plan in enumerate(plans):
            rows, columns = quant.matrix_shape(plan.shape)
            raw = random_raw(plan.format.name, rows, columns, seed)
            planars[plan.name] = quant.from_gguf(plan.format, raw, rows, columns)
            written = writer.write(planars[plan.name])
            offsets[plan.name] = written.offset
            assert written.sha256 == hashlib.sha256(planars[plan.name]).hexdigest()
    data = path.read_bytes()
    assert (writer.nbytes, writer.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    return planars, offsets


def test_public_library_reads_every_plane(tmp_path: Path) -> None:
    path = tmp_path / "shard.safetensors"
    planars, offsets = write_shard(path)
    with safe_open(path, framework="numpy") as file:
        names = set(file.keys())
        for name, planar in planars.items():
            if name == "t.bf16":
                assert (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()) == ("BF16", list(SHAPE))
                continue
            shape = SHAPE if name != "norm" else (7,)
            planes = quant.plane_views(
                quant.FORMATS.get(name[2:], quant.FORMATS["f32"]), planar, *quant.matrix_shape(shape)
            )
            for role, plane in planes.items():
                stored = file.get_tensor(name if len(planes) == 1 else f"{name}.{role}")
                assert stored.dtype == plane.dtype
                np.testing.assert_array_equal(stored.reshape(plane.shape).view(np.uint8), plane.view(np.uint8))
    header = read_header(path)
    assert set(header) == names
    for name, entry in header.items():
        assert name.startswith("__padding__") or entry.offset % 64 == 0
    assert min(offsets.values()) % DATA_ALIGNMENT == 0


def test_writer_refuses_to_leave_holes(tmp_path: Path) -> None:
    plan = TensorPlan("t", quant.FORMATS["f32"], (4,))
    with pytest.raises(ValueError, match="not written"), ShardWriter(tmp_path / "a", [plan]):
        pass
    with pytest.raises(ValueError, match="planned 64"), ShardWriter(tmp_path / "b", [plan]) as writer:
        writer.write(np.zeros(63, np.uint8))


def entry(dtype: Any = "U8", shape: Any = (4,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def shard_bytes(header: Any, data: int = 4, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + bytes(data)


DAMAGED = {
    "empty": (b"", "claims"),
    "short length": (b"\x01\x00", "claims"),
    "length beyond file": (shard_bytes({"a": entry()}, length=1 << 60), "claims"),
    "not UTF-8": (shard_bytes(b'{"\xff": 1}'), "not UTF-8"),
    "not JSON": (shard_bytes(b"{nonsense}"), "not sound JSON"),
    "a list": (shard_bytes(b"[]"), "not an object"),
    "deep": (shard_bytes(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "nests too deeply"),
    "long number": (shard_bytes(b'{"a":' + b"9" * 6000 + b"}"), "too many digits"),
    "key twice": (shard_bytes(b'{"a": 1, "a": 2}'), "occurs twice"),
    "entry type": (shard_bytes({"a": 3}), "expected an object"),
    "field missing": (shard_bytes({"a": {"dtype": "U8", "shape": [4]}}), "'data_offsets' is missing"),
    "field unknown": (shard_bytes({"a": entry() | {"x": 1}}), "unknown field 'x'"),
    "dtype": (shard_bytes({"a": entry(dtype="U9")}), "unknown dtype"),
    "dtype type": (shard_bytes({"a": entry(dtype=8)}), "expected text"),
    "shape negative": (shard_bytes({"a": entry(shape=[-4])}), "expected integers from 0"),
    "shape boolean": (shard_bytes({"a": entry(shape=[True])}), "expected integers"),
    "shape fraction": (shard_bytes({"a": entry(shape=[4.0])}), "expected integers"),
    "shape overflow": (shard_bytes({"a": entry(shape=[1 << 62] * 8)}), "needs"),
    "dimensions": (shard_bytes({"a": entry(shape=[1] * 9)}), "at most 8"),
    "offsets count": (shard_bytes({"a": entry(offsets=[0])}), "expected [start, end]"),
    "offsets reversed": (shard_bytes({"a": entry(offsets=[4, 0])}), "expected [start, end]"),
    "size disagrees": (shard_bytes({"a": entry(shape=[3])}), "needs 3 bytes"),
    "hole": (shard_bytes({"a": entry(offsets=[4, 8])}, data=8), "hole"),
    "overlap": (shard_bytes({"a": entry(), "b": entry(offsets=[2, 6])}, data=6), "overlaps"),
    "beyond the end": (shard_bytes({"a": entry()}, data=3), "the file has"),
    "bytes left over": (shard_bytes({"a": entry()}, data=5), "the file has"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_clear_error(tmp_path: Path, name: str) -> None:
    data, expected = DAMAGED[name]
    path = tmp_path / "shard.safetensors"
    path.write_bytes(data)
    with pytest.raises(InvalidFileError) as caught:
        read_header(path)
    assert expected in caught.value.message
    assert "\n" not in caught.value.message


def test_random_damage_raises_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "shard.safetensors"
    write_shard(path)
    sound = path.read_bytes()
    used = sound.index(b"}}")
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        data = bytearray(sound)
        data[int(rng.integers(0, used))] = int(rng.integers(0, 256))
        path.write_bytes(data)
        try:
            read_header(path)
        except FastgoError:
            refused += 1
    assert refused > 100
