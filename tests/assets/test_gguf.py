"""The GGUF reader: agrees with the public reader on sound files; each kind of damage is one clear error."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from fastgo.assets.gguf import GgufFile
from fastgo.errors import FastgoError, InvalidFileError, ModelNotFoundError, UnsupportedModelError
from gguf_builder import (
    ARRAY,
    BOOL,
    STRING,
    UINT32,
    key_value,
    raw_file,
    tensor_info,
    text,
    write_model,
)

U32_7 = struct.pack("<I", 7)


def number_array(kind: int, count: int, payload: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + payload


def open_bytes(tmp_path: Path, data: bytes) -> GgufFile:
    path = tmp_path / "file.gguf"
    path.write_bytes(data)
    return GgufFile.open(path)


def test_agrees_with_the_public_reader(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    raws = write_model(path, "gemma3", {"general.tags": ["a", "b"], "x.flag": True, "x.floats": [0.5, 1.5]})
    public = gguf.GGUFReader(path)
    with GgufFile.open(path) as file:
        assert file.version == 3
        for key, field in public.fields.items():
            if not key.startswith("GGUF."):
                np.testing.assert_array_equal(file.metadata[key], field.contents())
        assert list(file.tensors) == [tensor.name for tensor in public.tensors]
        for tensor in public.tensors:
            ours = file.tensors[tensor.name]
            assert ours.shape == tuple(int(n) for n in reversed(tensor.shape))
            assert ours.format.gguf_type_id == tensor.tensor_type.value
            np.testing.assert_array_equal(ours.raw, raws[tensor.name].reshape(-1))
        del ours


def test_a_model_of_version_2(tmp_path: Path) -> None:
    """Version 3 differs in nothing but that it may be big-endian."""
    raws = write_model(tmp_path / "3.gguf", "qwen3")
    data = bytearray((tmp_path / "3.gguf").read_bytes())
    data[4] = 2
    (tmp_path / "2.gguf").write_bytes(data)
    with GgufFile.open(tmp_path / "2.gguf") as file:
        assert file.version == 2
        for name, raw in raws.items():
            np.testing.assert_array_equal(file.tensors[name].raw, raw.reshape(-1))


def test_every_value_type(tmp_path: Path) -> None:
    scalars = {0: ("B", 200), 1: ("b", -3), 2: ("H", 60000), 3: ("h", -300), 4: ("I", 1 << 31), 5: ("i", -5)}
    scalars |= {6: ("f", 0.5), 7: ("?", True), 10: ("Q", 1 << 63), 11: ("q", -(1 << 40)), 12: ("d", 1e300)}
    pairs = [key_value(f"k{kind}", kind, struct.pack(f"<{code}", value)) for kind, (code, value) in scalars.items()]
    nested = number_array(ARRAY, 2, number_array(UINT32, 1, U32_7) + number_array(STRING, 1, text("é")))
    pairs += [key_value("nested", ARRAY, nested), key_value("empty", ARRAY, number_array(BOOL, 0, b""))]
    pairs += [key_value("tokenizer.ggml.tokens", ARRAY, number_array(STRING, 2, text(b"\xff\x00") + text(b"")))]
    for version in (2, 3):
        metadata = open_bytes(tmp_path, raw_file(tuple(pairs), version=version)).metadata
        for kind, (_, value) in scalars.items():
            assert metadata[f"k{kind}"] == value
            assert type(metadata[f"k{kind}"]) is type(value)
        assert metadata["nested"][0].tolist() == [7]
        assert metadata["nested"][1] == ["é"]
        assert len(metadata["empty"]) == 0
        assert metadata["tokenizer.ggml.tokens"] == [b"\xff\x00", b""]


def test_large_vocabulary_is_quick(real_gguf: dict[str, Path]) -> None:
    start = time.perf_counter()
    with GgufFile.open(real_gguf["gemma3"]) as file:
        assert len(file.metadata["tokenizer.ggml.tokens"]) == 262144
    assert time.perf_counter() - start < 1.0  # about 0.07 s on an idle core


def test_own_alignment_is_honoured(tmp_path: Path) -> None:
    pair = key_value("general.alignment", UINT32, struct.pack("<I", 8))
    head = raw_file((pair,), (tensor_info("t", (2,)),))
    unpadded = 4 + 20 + len(pair) + len(tensor_info("t", (2,)))
    data = head[:unpadded] + bytes(-unpadded % 8) + struct.pack("<2f", 1.0, 2.0)
    assert open_bytes(tmp_path, data).tensors["t"].raw.view(np.float32).tolist() == [1.0, 2.0]


ONE = tensor_info("t", (8,))
DAMAGED = {
    "empty": (b"", "is empty"),
    "magic": (raw_file(magic=b"GGML"), "does not start with"),
    "short header": (raw_file()[:10], "remain"),
    "version 1": (raw_file(version=1), "version 1"),
    "version 99": (raw_file(version=99), "version 99"),
    "big endian": (raw_file(version=3 << 24), "big-endian"),
    "tensor count": (raw_file(tensor_count=1 << 40), "claims 1099511627776 tensors"),
    "tensor count one too many": (raw_file(infos=(ONE,), data=bytes(32), tensor_count=2), "sound GGUF"),
    "key count": (raw_file(pair_count=(1 << 64) - 1), "metadata keys"),
    "key length": (raw_file((struct.pack("<Q", 1 << 63) + bytes(40),)), "at most 65535"),
    "empty key": (raw_file((key_value("", UINT32, U32_7),)), "key is empty"),
    "key not UTF-8": (raw_file((key_value(b"\xff", UINT32, U32_7),)), "not UTF-8"),
    "key twice": (raw_file((key_value("a", UINT32, U32_7),) * 2), "occurs twice"),
    "value type": (raw_file((key_value("a", 13, U32_7),)), "unknown value type 13"),
    "array type": (raw_file((key_value("a", ARRAY, number_array(77, 1, U32_7)),)), "unknown value type 77"),
    "array count": (raw_file((key_value("a", ARRAY, number_array(UINT32, 1 << 62, U32_7)),)), "values in metadata"),
    "string array count": (raw_file((key_value("a", ARRAY, number_array(STRING, 1 << 61, b"")),)), "strings in"),
    "string array cut": (raw_file((key_value("a", ARRAY, number_array(STRING, 1, struct.pack("<Q", 999))),)), "beyond"),
    "array depth": (
        raw_file((key_value("a", ARRAY, number_array(ARRAY, 1, b"") * 9 + bytes(20)),)),
        "deeper than 4",
    ),
    "string length": (raw_file((key_value("a", STRING, struct.pack("<Q", 1 << 50)),)), "needs 1125899906842624"),
    "string not UTF-8": (raw_file((key_value("a", STRING, text(b"\xc3\x28")),)), "not UTF-8"),
    "boolean": (raw_file((key_value("a", BOOL, b"\x02"),)), "neither 0 nor 1"),
    "alignment zero": (raw_file((key_value("general.alignment", UINT32, bytes(4)),)), "power of two"),
    "alignment 48": (raw_file((key_value("general.alignment", UINT32, struct.pack("<I", 48)),)), "power of two"),
    "alignment text": (raw_file((key_value("general.alignment", STRING, text("32")),)), "power of two"),
    "tensor name length": (raw_file(infos=(tensor_info("n" * 65, (8,)),)), "at most 64"),
    "tensor name empty": (raw_file(infos=(tensor_info("", (8,)), ONE)), "name is empty"),
    "tensor twice": (raw_file(infos=(ONE, ONE), data=bytes(64)), "'t' occurs twice"),
    "no dimensions": (raw_file(infos=(tensor_info("t", ()), ONE)), "0 dimensions"),
    "five dimensions": (raw_file(infos=(tensor_info("t", (1,) * 5),)), "5 dimensions"),
    "zero dimension": (raw_file(infos=(tensor_info("t", (8, 0)),)), "impossible shape"),
    "overflow": (raw_file(infos=(tensor_info("t", (1 << 32, 1 << 32, 2)),)), "impossible shape"),
    "unknown type": (raw_file(infos=(tensor_info("t", (8,), 999),)), "unknown (999)"),
    "unsupported type": (raw_file(infos=(tensor_info("t", (256,), 16),)), "iq2_xxs (16)"),
    "carried type, columns": (raw_file(infos=(tensor_info("t", (128,), 11),), data=bytes(64)), "no multiple of 256"),
    "carried type, a byte short": (raw_file(infos=(tensor_info("t", (512,), 11),), data=bytes(219)), "at byte 220"),
    "columns": (raw_file(infos=(tensor_info("t", (33,), 8),), data=bytes(64)), "no multiple of 32"),
    "beyond the end": (raw_file(infos=(ONE,), data=bytes(31)), "ends at byte 32"),
    "huge offset": (raw_file(infos=(tensor_info("t", (8,), 0, (1 << 64) - 32),), data=bytes(32)), "ends at byte"),
    "misaligned": (raw_file(infos=(tensor_info("t", (8,), 0, 4),), data=bytes(64)), "no multiple of 32"),
    "overlap": (raw_file(infos=(tensor_info("a", (16,)), tensor_info("b", (8,), 0, 32)), data=bytes(64)), "overlap"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_clear_error(tmp_path: Path, name: str) -> None:
    data, expected = DAMAGED[name]
    with pytest.raises((InvalidFileError, UnsupportedModelError)) as caught:
        open_bytes(tmp_path, data)
    assert expected in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        GgufFile.open(tmp_path / "absent.gguf")
    with pytest.raises(InvalidFileError, match="can't read"):
        GgufFile.open(tmp_path)


def test_random_damage_raises_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, metadata={"a.names": ["x", "yy"], "a.numbers": [1, 2, 3]})
    sound = path.read_bytes()
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(400):
        data = bytearray(sound[: int(rng.integers(1, 4000))] if rng.random() < 0.3 else sound)
        for position in rng.integers(0, min(len(data), 3000), int(rng.integers(1, 4))):
            data[position] = int(rng.integers(0, 256))
        path.write_bytes(data)
        try:
            GgufFile.open(path).close()
        except FastgoError as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > 100
