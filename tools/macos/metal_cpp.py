"""Finds Apple's metal-cpp headers, which the public macOS wheels of mlx carry, and keeps them in the cache folder.

Owns which wheels are trusted: each is pinned by version and SHA-256. Only the headers are kept, a wheel is deleted
once they are out. Sizes are in bytes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import platformdirs

from macos.errors import CheckError

_MEMBER_PREFIX = "mlx/include/metal_cpp/"
_MAX_HEADERS_SIZE = 32 << 20
_PLATFORM = "macosx_14_0_arm64"
_PYTHON_VERSION = "3.11"


@dataclass(frozen=True)
class HeaderSet:
    """One release of metal-cpp: the macOS it was made for and the wheel that carries it."""

    macos: str
    requirement: str
    sha256: str


CURRENT = HeaderSet(
    macos="26",
    requirement="mlx-metal==0.32.4",
    sha256="8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947",
)
BASELINE = HeaderSet(
    macos="14",
    requirement="mlx==0.10.0",
    sha256="8aa0b97e9aa8a191664f9d6dc88f58c46acac0d3fe711f3a9a928315102d8e79",
)


def cache_folder() -> Path:
    """The folder for everything that the macOS check keeps: `FASTGO_CACHE_DIR`, else the user's cache."""
    root = os.environ.get("FASTGO_CACHE_DIR")
    return (Path(root) if root else platformdirs.user_cache_path("fastgo")) / "check_macos"


def find(headers: HeaderSet, cache: Path) -> Path:
    """Returns the folder to put on the include path, downloading the wheel if it is not in `cache`.

    Raises:
        CheckError: the wheel can't be had, is not the pinned one, or holds no metal-cpp.
    """
    folder = cache / f"metal-cpp-macos{headers.macos}-{headers.sha256[:12]}"
    if (folder / "Metal" / "Metal.hpp").is_file():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as scratch:
            wheel = _download(headers, Path(scratch))
            _verify(wheel, headers)
            _extract(wheel, Path(scratch) / "headers")
            _publish(Path(scratch) / "headers", folder)
    except OSError as error:
        hint = "set FASTGO_CACHE_DIR to a writable folder with room"
        raise CheckError(f"can't keep headers under {cache}: {error}", hint) from None
    return folder


def _download(headers: HeaderSet, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary=:all:", "--platform", _PLATFORM, "--python-version", _PYTHON_VERSION]
    done = subprocess.run([*command, "-d", str(folder), headers.requirement], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = (done.stderr.strip() or "no wheel was saved").splitlines()[-1]
        raise CheckError(
            f"pip could not download {headers.requirement} for {_PLATFORM}: {reason}",
            "go online once, or give the folder of a metal-cpp release with --headers",
        )
    return wheels[0]


def _verify(wheel: Path, headers: HeaderSet) -> None:
    with wheel.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != headers.sha256:
        raise CheckError(
            f"{wheel.name} has SHA-256 {digest.hexdigest()}, expected {headers.sha256}",
            "the index served another file than the pinned one: review it before changing the pin",
        )


def _extract(wheel: Path, folder: Path) -> None:
    """Unpacks the headers alone; refuses names that leave `folder` and an implausible total size."""
    with zipfile.ZipFile(wheel) as archive:
        members = [m for m in archive.infolist() if m.filename.startswith(_MEMBER_PREFIX) and not m.is_dir()]
        if not any(m.filename.endswith("Metal/Metal.hpp") for m in members):
            raise CheckError(f"{wheel.name} holds no metal-cpp headers", "pin a release of mlx that carries them")
        if sum(m.file_size for m in members) > _MAX_HEADERS_SIZE:
            raise CheckError(f"{wheel.name} holds more headers than expected", "review it before changing the limit")
        for member in members:
            name = PurePosixPath(member.filename[len(_MEMBER_PREFIX) :])
            if name.is_absolute() or ".." in name.parts:
                raise CheckError(f"{wheel.name} holds a file outside its folder: {name}", "do not use this wheel")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))


def _publish(headers: Path, folder: Path) -> None:
    """Renames into place; when another process was first, its copy stays."""
    try:
        headers.rename(folder)
    except OSError:
        if not (folder / "Metal" / "Metal.hpp").is_file():
            raise
