"""Which format each tensor of a converted model gets.

A preset says what matrices become, by their part in the model; rules by name come before it. A preset never makes a
tensor larger than it is in the source and leaves the routers of experts alone; vectors (norms) are always float32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType

from fastgo.assets.quant import FORMATS, QuantFormat, matrix_shape, total_nbytes
from fastgo.errors import UsageError
from fastgo.models.config import ModelConfig

_TABLES = ("model.embed_tokens.weight", "lm_head.weight")
_ROUTER = "mlp.gate.weight"  # small, and a wrong choice of experts costs more than any rounding of them
_SENSITIVE = ("self_attn.v_proj.weight", "mlp.down_proj.weight")
_FALLBACK_OF_LONG_BLOCKS: Mapping[str, str] = MappingProxyType(
    {
        "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0",
        "int8_g128": "int8_g64", "int8_g64": "q8_0", "int4_g128": "int4_g64", "int4_g64": "q4_0",
    }
)  # fmt: skip


@dataclass(frozen=True)
class _Preset:
    """Formats of the layers' matrices, of those that matter most, and of the embedding and head."""

    layers: str
    sensitive: str
    tables: str


_PRESETS: Mapping[str, _Preset] = MappingProxyType(
    {
        "q8": _Preset("q8_0", "q8_0", "q8_0"),
        "q4": _Preset("q4_0", "q4_0", "q6_k"),
        "int8-channel": _Preset("int8_channel", "int8_channel", "int8_channel"),
        "q4-mixed": _Preset("q4_k", "q6_k", "q6_k"),
        "q8-g64": _Preset("int8_g64", "int8_g64", "int8_g64"),
        "q8-g128": _Preset("int8_g128", "int8_g128", "int8_g128"),
        "q4-g64": _Preset("int4_g64", "int4_g64", "q6_k"),
        "q4-g128": _Preset("int4_g128", "int4_g128", "q6_k"),
    }
)
NAMES = ("none", *_PRESETS)
_CALIBRATED = re.compile(r".* calibrated(?: with sha256:(?P<text>[0-9a-f]{64}))?", re.DOTALL)


def grouped_preset(preset: str, group_size: int | None) -> str:
    """The preset whose scales are for `group_size` weights; q8 and q4 have 32 by themselves. Raises UsageError."""
    if group_size is None or (preset in ("q8", "q4") and group_size == 32):
        return preset
    grouped = f"{preset}-g{group_size}"
    if grouped not in _PRESETS:
        raise UsageError(
            f"--group-size: expected 32, 64 or 128 with --quantize q8 or q4, found {group_size} with {preset[:40]}",
            hint="the other formats have one group size",
        )
    return grouped


@dataclass(frozen=True)
class Recipe:
    """A preset out of `NAMES` ("none" keeps every format), and rules of which the first that fits wins.

    A rule is a pattern of Hugging Face names, as file names are matched, and a format's name.
    """

    preset: str = "none"
    rules: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, preset: str, rules: list[str]) -> Recipe:
        """From the command line's words; rules are NAME=FORMAT. Raises UsageError."""
        if preset not in NAMES:
            raise UsageError(f"--quantize: expected one of {', '.join(NAMES)}, found {preset[:40]!r}")
        pairs = []
        for rule in rules:
            pattern, equals, name = rule.rpartition("=")
            if not equals or not pattern or name not in FORMATS:
                raise UsageError(
                    f"--keep: expected NAME=FORMAT, found {rule[:80]!r}",
                    hint=f"for example lm_head.weight=q8_0 or 'model.layers.0.*=bf16'; formats: {', '.join(FORMATS)}",
                )
            pairs.append((pattern, name))
        return cls(preset, tuple(pairs))

    def __str__(self) -> str:
        return " ".join([self.preset, *(f"{pattern}={name}" for pattern, name in self.rules)])

    def format_of(self, name: str, shape: tuple[int, ...], stored: QuantFormat, config: ModelConfig) -> QuantFormat:
        """The format of tensor `name`, which the source has as `stored`. Raises UsageError for a rule that can't be."""
        if len(shape) == 1:
            return FORMATS["f32"]
        for pattern, wanted in self.rules:
            if fnmatchcase(name, pattern):
                return _checked(FORMATS[wanted], name, shape)
        if self.preset == "none" or name.endswith(_ROUTER):
            return stored
        rows, columns = matrix_shape(shape)
        target = _fitting(FORMATS[self._preset_format(name, config)], columns)
        is_smaller = target is not None and total_nbytes(target, rows, columns) < total_nbytes(stored, rows, columns)
        return target if target is not None and is_smaller else stored

    def _preset_format(self, name: str, config: ModelConfig) -> str:
        preset = _PRESETS[self.preset]
        if name in _TABLES:
            return preset.tables
        if name.endswith(_SENSITIVE) and _deserves_more(int(name.split(".")[2]), config.num_hidden_layers):
            return preset.sensitive
        return preset.layers


def with_calibration(recipe: Recipe, text_sha256: str) -> str:
    """A recipe's words in a manifest, with the text that decided how weights were rounded."""
    return f"{recipe} calibrated with sha256:{text_sha256}"


def calibration_text(words: str) -> str | None:
    """The SHA-256 of that text, from a manifest's words; empty where they don't tell it, None if there was no text."""
    match = _CALIBRATED.fullmatch(words.partition("; source: ")[0])
    return (match["text"] or "") if match else None


def _deserves_more(layer: int, layers: int) -> bool:
    """The first and last eighth of the layers and every third between: where llama.cpp's mixes spend their bits too."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _fitting(target: QuantFormat, columns: int) -> QuantFormat | None:
    """The format, or the next that rows of this length can have; None if only plain floats will do."""
    while columns % target.block_size and target.name in _FALLBACK_OF_LONG_BLOCKS:
        target = FORMATS[_FALLBACK_OF_LONG_BLOCKS[target.name]]
    return None if columns % target.block_size else target


def _checked(target: QuantFormat, name: str, shape: tuple[int, ...]) -> QuantFormat:
    if shape[-1] % target.block_size:
        raise UsageError(
            f"--keep: {name} has {shape[-1]} columns, no multiple of {target.block_size} as {target.name} needs",
            hint="formats without a block size: f32, f16, bf16",
        )
    return target
