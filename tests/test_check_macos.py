"""The macOS check must accept sound code, refuse each kind of mistake that it promises to find, and read hostile files.

The tests that compile need the packages ziglang and pybind11 and, once, the network; they are skipped without. The
first link on a machine builds libc++ for the target, which takes about a minute.
"""

from __future__ import annotations

import shutil
import struct
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import check_macos  # noqa: E402
from macos import macho, metal_cpp, symbols, zig  # noqa: E402
from macos.errors import CheckError  # noqa: E402

CASES = ROOT / "tests" / "check_macos"
IMPLEMENTATION = ROOT / "csrc" / "metal" / "apple_implementation.cpp"


@pytest.fixture(scope="module")
def tools() -> None:
    """Skips where the cross compiler or Apple's headers can't be had."""
    cache = metal_cpp.cache_folder()
    try:
        zig.Compiler(cache=cache / "zig", system_includes=zig.python_includes(cache))
        for headers in (metal_cpp.CURRENT, metal_cpp.BASELINE):
            metal_cpp.find(headers, cache)
    except CheckError as error:
        pytest.skip(f"{error} ({error.hint})")


def altered(folder: Path, old: str, new: str) -> Path:
    """A copy of the sound case with one mistake in it."""
    text = (CASES / "uses_metal.cpp").read_text()
    assert old in text
    copy = folder / "mistake.cpp"
    copy.write_text(text.replace(old, new))
    return copy


@pytest.mark.usefixtures("tools")
def test_project_compiles_and_links(capsys: pytest.CaptureFixture[str]) -> None:
    status = check_macos.main(["--link"])
    assert status == 0, capsys.readouterr().out
    assert "type-checked and linked, not run" in capsys.readouterr().out


@pytest.mark.usefixtures("tools")
def test_sound_code_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    status = check_macos.main(["--link", str(IMPLEMENTATION), str(CASES / "uses_metal.cpp")])
    output = capsys.readouterr().out
    assert status == 0, output
    assert "uses_metal.cpp (headers of macOS 14)" in output


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("setInheritBuffers", "setInheritBufers", "no member named 'setInheritBufers'"),
        ("useHeap(heap.get())", "useHeap(buffer.get())", "MTL::Heap *"),
        ("[&](MTL::CommandBuffer* done)", "[&](MTL::Buffer* done)", "addCompletedHandler"),
        ("MTL::HeapTypePlacement", "MTL::HeapTypePlaced", "HeapTypePlaced"),
        ("commands->commit();", "commands->commit(1);", "too many arguments"),
    ],
)
def test_misuse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    status = check_macos.main(["--no-baseline", str(altered(tmp_path, old, new))])
    output = capsys.readouterr().out
    assert status == 1
    assert "FAILED" in output and message in output


@pytest.mark.usefixtures("tools")
def test_newer_api_needs_a_file_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undeclared = tmp_path / "residency.cpp"
    declared = tmp_path / "residency_macos15.cpp"
    for copy in (undeclared, declared):
        shutil.copy(CASES / "uses_macos15.cpp", copy)
    assert check_macos.main([str(undeclared)]) == 1
    assert "(headers of macOS 14)" in capsys.readouterr().out
    assert check_macos.main([str(declared)]) == 0


@pytest.mark.usefixtures("tools")
def test_symbol_in_no_reviewed_list_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "typo.cpp"
    source.write_text(
        'extern "C" void* MTLCreateSystemDefaultDevise();\nvoid* f() { return MTLCreateSystemDefaultDevise(); }\n'
    )
    status = check_macos.main(["--link", "--no-baseline", "--keep", str(tmp_path / "kept"), str(source)])
    assert status == 1
    assert "in no reviewed list: MTLCreateSystemDefaultDevise" in capsys.readouterr().out
    assert (tmp_path / "kept" / "_fastmetal.so").is_file()


def test_missing_file_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_macos.main(["no/such/file.cpp"]) == 2
    assert "not checked: no such file: no/such/file.cpp" in capsys.readouterr().err


def test_python_exports_are_known() -> None:
    names = ["_PyLong_FromLong", "_PyLong_FromLoong", "_malloc"]
    found = symbols.unknown_symbols([macho.UndefinedSymbol(name, None) for name in names])
    assert found == ["PyLong_FromLoong", "malloc"]


def make_macho(names: bytes, command_size: int = 24, name_offset: int = 1) -> bytes:
    """A 64-bit Mach-O file with one undefined symbol that is looked up in every library."""
    symbols_offset = 32 + 24
    header = struct.pack("<IiiIIIII", 0xFEEDFACF, 0x100000C, 0, 6, 1, 24, 0, 0)
    command = struct.pack("<IIIIII", 2, command_size, symbols_offset, 1, symbols_offset + 16, len(names))
    return header + command + struct.pack("<IBBHQ", name_offset, 1, 0, 0xFE00, 0) + names


def test_undefined_symbols_of_a_small_file(tmp_path: Path) -> None:
    file = tmp_path / "small"
    file.write_bytes(make_macho(b"\0_puts\0"))
    assert macho.undefined_symbols(file) == [macho.UndefinedSymbol("_puts", None)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF" + bytes(60),
        make_macho(b"\0_puts\0")[:60],
        make_macho(b"\0_puts\0", command_size=0),
        make_macho(b"\0_puts\0", name_offset=99),
        make_macho(b"\0_puts"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "damaged"
    file.write_bytes(content)
    with pytest.raises(CheckError, match="no sound 64-bit Mach-O file"):
        macho.undefined_symbols(file)


@pytest.mark.parametrize("name", ["../escape.hpp", "/escape.hpp"])
def test_wheel_can_not_write_outside_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    wheel = tmp_path / "hostile.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mlx/include/metal_cpp/Metal/Metal.hpp", "")
        archive.writestr(f"mlx/include/metal_cpp/{name}", "")
    monkeypatch.setattr(metal_cpp, "_download", lambda *_: wheel)
    monkeypatch.setattr(metal_cpp, "_verify", lambda *_: None)
    with pytest.raises(CheckError, match="outside its folder"):
        metal_cpp.find(metal_cpp.CURRENT, tmp_path / "cache")
    assert not list(tmp_path.rglob("escape.hpp"))


def test_unexpected_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"not the pinned file")
    monkeypatch.setattr(metal_cpp, "_download", lambda *_: wheel)
    with pytest.raises(CheckError, match="expected " + metal_cpp.CURRENT.sha256):
        metal_cpp.find(metal_cpp.CURRENT, tmp_path / "cache")
