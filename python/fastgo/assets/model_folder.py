"""An opened model folder: its checked manifest, and its weights by mapping their shards.

Opening reads the manifest and looks at file sizes only; `verify` hashes everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

import numpy as np

from fastgo.assets import manifest as manifests
from fastgo.assets.manifest import Manifest, TensorEntry
from fastgo.assets.quant import Bytes, Float32s, dequantize
from fastgo.assets.storage import Progress, file_sha256
from fastgo.assets.strict_json import DAMAGED_HINT
from fastgo.errors import InvalidFileError
from fastgo.models.config import ModelConfig


@dataclass(frozen=True)
class ModelFolder:
    """A model on the disk that is ready to run."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path | str) -> ModelFolder:
        """Read the manifest and check that all files are there with the right size.

        Raises:
            ModelNotFoundError: no manifest there.
            InvalidFileError: the manifest is damaged, or a file is missing, a link, or of a wrong size.
            UnsupportedModelError: as `manifest.load`.
        """
        folder = cls.open_manifest(path)
        for shard in folder.manifest.shards:
            folder._check_file(shard.file, shard.nbytes)
        for name in (folder.manifest.tokenizer or {}).get("files", ()):
            folder._check_file(name, None)
        return folder

    @classmethod
    def open_manifest(cls, path: Path | str) -> ModelFolder:
        """As `open`, with no look at the other files: for what may be damaged."""
        return cls(Path(path), manifests.load(Path(path) / manifests.FILE_NAME))

    @property
    def name(self) -> str:
        """The source's name, without the ending of a GGUF file."""
        return self.manifest.provenance.source_file.removesuffix(".gguf")

    @property
    def config(self) -> ModelConfig:
        """Shapes and constants of the model."""
        return self.manifest.config

    @property
    def tensors(self) -> Mapping[str, TensorEntry]:
        """The table of tensors by Hugging Face name."""
        return self.manifest.tensors

    @property
    def nbytes(self) -> int:
        """Size of all shards."""
        return sum(shard.nbytes for shard in self.manifest.shards)

    def shard_path(self, index: int) -> Path:
        """The file of shard `index`, as `TensorEntry.shard` counts them."""
        return self.path / self.manifest.shards[index].file

    def planar(self, name: str) -> Bytes:
        """A tensor's planar bytes, uint8 (nbytes,), mapped read-only. Raises KeyError for an unknown name."""
        entry = self.tensors[name]
        return np.memmap(self.shard_path(entry.shard), np.uint8, "r", entry.offset, (entry.nbytes,))

    def weights(self, name: str) -> Float32s:
        """A tensor's weights, float32 of its shape. Raises KeyError for an unknown name."""
        entry = self.tensors[name]
        return dequantize(entry.format, self.planar(name), *entry.matrix_shape).reshape(entry.shape)

    def verify(self, progress: Progress | None = None) -> None:
        """Hash every shard and the tokenizer's files and compare with the manifest.

        Raises InvalidFileError on the first that differs; for a shard the message names the first tensor that does.
        """
        for index, shard in enumerate(self.manifest.shards):
            if self._shard_sha256(index, progress) != shard.sha256:
                damaged = self._first_damaged(index)
                what = f"tensor {damaged} in {shard.file}" if damaged else f"the header of {shard.file}"
                raise InvalidFileError(
                    f"{what} differs from its SHA-256 in the manifest", hint="try `fastgo verify --repair`"
                )

        for name in self.damaged_tokenizer_files():
            raise InvalidFileError(
                f"{name} differs from its SHA-256 in the manifest", hint="try `fastgo verify --repair`"
            )

    def damaged_tokenizer_files(self) -> list[str]:
        """The tokenizer's files that are missing or differ from their SHA-256; older folders don't have these."""
        info = self.manifest.tokenizer or {}
        return [
            name
            for name, sha256 in zip(info.get("files", ()), info.get("sha256", ()), strict=False)
            if not self._has_sha256(name, sha256)
        ]

    def damaged_shards(self, progress: Progress | None = None) -> list[int]:
        """The shards that are missing, of a wrong size, or differ from their SHA-256."""
        return [index for index in range(len(self.manifest.shards)) if not self._is_sound(index, progress)]

    def _is_sound(self, index: int, progress: Progress | None) -> bool:
        shard = self.manifest.shards[index]
        try:
            self._check_file(shard.file, shard.nbytes)
        except InvalidFileError:
            return False
        return self._shard_sha256(index, progress) == shard.sha256

    def _has_sha256(self, name: str, sha256: str) -> bool:
        try:
            self._check_file(name, None)
            return file_sha256(self.path / name) == sha256
        except (InvalidFileError, OSError):
            return False

    def _shard_sha256(self, index: int, progress: Progress | None) -> str:
        shard = self.manifest.shards[index]
        done = sum(before.nbytes for before in self.manifest.shards[:index])
        digest = hashlib.sha256()
        with (self.path / shard.file).open("rb") as file:
            while chunk := file.read(8 << 20):
                digest.update(chunk)
                done += len(chunk)
                if progress:
                    progress(done, self.nbytes, f"verifying {shard.file}")
        return digest.hexdigest()

    def _first_damaged(self, shard: int) -> str | None:
        """The first tensor of a shard whose bytes are not those of the manifest; None if all are."""
        entries = sorted((entry.offset, name) for name, entry in self.tensors.items() if entry.shard == shard)
        for _, name in entries:
            if hashlib.sha256(self.planar(name).data).hexdigest() != self.tensors[name].sha256:
                return name
        return None

    def _check_file(self, name: str, nbytes: int | None) -> None:
        try:
            status = (self.path / name).lstat()
        except OSError as error:
            raise InvalidFileError(
                f"{self.path.name}/{name}: {(error.strerror or '').lower()}", hint=DAMAGED_HINT
            ) from None
        if not S_ISREG(status.st_mode):
            raise InvalidFileError(f"{self.path.name}/{name} is not a regular file", hint=DAMAGED_HINT)
        if nbytes is not None and status.st_size != nbytes:
            raise InvalidFileError(
                f"{self.path.name}/{name} has {status.st_size} bytes, expected {nbytes}", hint=DAMAGED_HINT
            )
