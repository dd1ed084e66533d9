"""A Hugging Face folder as the source of a model: plain names, Gemma's norms, tokenizer, template, defaults, licence.

Vision parts of a multimodal checkpoint are left out; any other tensor that the architecture does not know is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastgo.assets import manifest as manifests
from fastgo.assets import storage
from fastgo.assets.gguf_names import model_order
from fastgo.assets.hf_config import config_from_hf
from fastgo.assets.hf_experts import stack_experts
from fastgo.assets.hf_folder import CONFIG_FILE, HfFolder, StoredTensor
from fastgo.assets.licence_files import is_licence_file, licence_files
from fastgo.assets.quant import FORMATS, Array
from fastgo.assets.quantize import quantize
from fastgo.assets.source import Source, SourceTensor
from fastgo.assets.storage import Progress
from fastgo.errors import InvalidFileError
from fastgo.models.config import ModelConfig

_TEXT_PREFIXES = ("model.language_model.", "language_model.model.")
_OTHER_PARTS = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")
_CACHED_VALUES = re.compile(r"\.rotary_emb\.inv_freq$")
_GENERATION_FILE = "generation_config.json"
_README_NBYTES = 8 << 20
_TOKENIZER_NBYTES = 64 << 20
_LICENCE_LINE = re.compile(r"^license:[ \t]*['\"]?([\w.+-]{1,80})['\"]?[ \t]*$", re.MULTILINE | re.ASCII)


def open_hf_source(path: Path, name: str | None = None) -> Source:
    """The model of a Hugging Face folder, called `name` or as the folder.

    Raises:
        ModelNotFoundError, InvalidFileError, UnsupportedModelError: as `HfFolder.open`; or the model is not supported.
    """
    folder = HfFolder.open(path)
    where = name or path.absolute().name
    tensors = {plain: tensor for stored, tensor in folder.tensors.items() if (plain := _plain_name(stored))}
    embedding = tensors.get("model.embed_tokens.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise InvalidFileError(f"{where} has no matrix model.embed_tokens.weight", hint="get the whole model")
    has_head = "lm_head.weight" in tensors
    config = config_from_hf(folder.config, embedding.shape[0], has_head, f"{where}/{CONFIG_FILE}")
    sources = [_source_tensor(plain, tensor, config) for plain, tensor in tensors.items()]
    if config.num_experts:
        sources = stack_experts(sources, where)
    defaults = folder.json(_GENERATION_FILE)
    files = tuple(sorted(entry for entry in path.iterdir() if entry.is_file() and _belongs(entry.name)))
    return Source(
        name=where,
        nbytes=sum(file.stat().st_size for file in folder.weight_files),
        config=config,
        tensors=tuple(sorted(sources, key=lambda tensor: (model_order(tensor.name), tensor.name))),
        sha256=lambda progress: _sha256(files, progress),
        fingerprint=lambda: " ".join(f"{file.name} {storage.fingerprint(file)}" for file in files),
        write_tokenizer=lambda target: _write_tokenizer(folder, defaults, config, target, where),
        chat_template=_chat_template(folder),
        generation=_generation(defaults),
        licence=_licence(folder),
        licence_files=licence_files(path),
    )


def _plain_name(name: str) -> str | None:
    """A text model's name for a tensor; None for what a text model does without."""
    if name.startswith(_OTHER_PARTS) or _CACHED_VALUES.search(name):
        return None
    for prefix in _TEXT_PREFIXES:
        if name.startswith(prefix):
            return "model." + name.removeprefix(prefix)
    return name.removeprefix("language_model.") if name == "language_model.lm_head.weight" else name


def _source_tensor(name: str, stored: StoredTensor, config: ModelConfig) -> SourceTensor:
    if config.architecture == "gemma3" and len(stored.shape) == 1:
        # transformers multiplies by 1 + w, we by what we store, as GGUF has it.
        return SourceTensor(
            name, FORMATS["f32"], stored.shape, lambda rows: {"low": stored.read_float32(rows) + np.float32(1)}
        )
    return SourceTensor(name, FORMATS[stored.format], stored.shape, _reader(stored))


def _reader(stored: StoredTensor) -> Callable[[slice], Mapping[str, Array]]:
    if stored.scales is None:
        return lambda rows: {"low": stored.read(rows)}
    return lambda rows: quantize(FORMATS[stored.format], stored.read_float32(rows))


def _belongs(name: str) -> bool:
    """Whether a file of the folder can make a difference to the result."""
    return name.endswith((".safetensors", ".json", ".jinja", ".model")) or name == "README.md" or is_licence_file(name)


def _sha256(files: tuple[Path, ...], progress: Progress | None) -> str:
    """Of the list of the files' names and their SHA-256, as sha256sum prints it."""
    lines = (f"{storage.file_sha256(file, progress)}  {file.name}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _write_tokenizer(
    folder: HfFolder, defaults: dict[str, Any], config: ModelConfig, target: Path, where: str
) -> dict[str, Any] | None:
    from fastgo.text.gguf_tokenizer import SENTENCEPIECE_FILE, TOKENIZERS_FILE
    from fastgo.text.hf_tokenizer import export_hf_tokenizer
    from fastgo.text.sentencepiece_folder import export_sentencepiece

    text_config = folder.config.get("text_config")
    model_config = (text_config if isinstance(text_config, dict) else folder.config) | defaults
    tokenizer, tokenizer_config = folder.json(TOKENIZERS_FILE), folder.json("tokenizer_config.json")
    if tokenizer:
        info = export_hf_tokenizer(tokenizer, tokenizer_config, model_config, config.vocab_size, target)
    elif raw := folder.raw(SENTENCEPIECE_FILE, _TOKENIZER_NBYTES):
        added = folder.json("added_tokens.json")
        info = export_sentencepiece(raw, tokenizer_config, added, model_config, config.vocab_size, target)
    else:
        return None
    return manifests.checked_tokenizer(info, config, f"{where}: tokenizer")


def _chat_template(folder: HfFolder) -> str | None:
    template: Any = folder.text("chat_template.jinja")
    if template is None:
        template = folder.json("chat_template.json").get("chat_template")
    if template is None:
        template = folder.json("tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        named = [item for item in template if isinstance(item, dict) and item.get("name") == "default"]
        template = named[0].get("template") if named else None
    if template is not None and not isinstance(template, str):
        raise InvalidFileError("the model's chat template is no text", hint="download the model again")
    return template


def _generation(defaults: dict[str, Any]) -> dict[str, float]:
    """The sampling that the model's makers advise, at transformers' temperature 1 if none is named."""
    if defaults.get("do_sample") is True:
        return manifests.sound_generation({"temperature": 1.0, **defaults})
    return manifests.sound_generation({"repetition_penalty": defaults.get("repetition_penalty")})


def _licence(folder: HfFolder) -> str | None:
    """The licence that the head of the model card names; None if the card is absent or unreadable."""
    try:
        card = folder.text("README.md", _README_NBYTES)
    except InvalidFileError:
        return None
    if card is None or not card.startswith("---"):
        return None
    match = _LICENCE_LINE.search(card.split("\n---", 1)[0])
    return match[1] if match else None
