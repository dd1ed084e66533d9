"""Makes the goldens of the models: tiny random-weight GGUF files, and what transformers computes with them.

Needs the extra `goldens`. Everything follows from the seeds there, so that a second run writes the same files; on a
processor with other instructions PyTorch's logits differ in their last bits (6e-6 was seen):

    python tools/make_goldens.py [folder, by default tests/goldens]

For each model of tools/tiny_models.py `<name>.gguf` holds float32 weights, and `<name>.npz`: `prompt` (tokens,) int32,
`logits` (tokens, vocab_size) float32 after each of them, `greedy` int32, the tokens that follow, and `greedy_margin`
float32, the best logit less the second at each of those steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
from tiny_models import CONTEXT, TINY_MODELS, TinyModel, rope_divisors

Array = npt.NDArray[Any]

PROMPT_TOKENS = 40  # five of Gemma's windows
GREEDY_TOKENS = 24
SMALLEST_MARGIN = 0.01  # of a greedy step, far above what float32 may differ by
SMALLEST_VARIETY = 8  # different greedy tokens: a model that repeats itself shows little


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Fills all weights so that no layer is idle: rows of about unit gain, norms that differ from one."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if name.endswith(".bias"):
                values = rng.uniform(-0.5, 0.5, shape)
            elif len(shape) == 1:
                values = rng.uniform(-0.5, 0.5, shape) + (0.0 if adds_one_to_norms(model) else 1.0)
            elif "embed_tokens" in name:
                values = rng.normal(0.0, 0.2, shape)
            else:
                values = rng.normal(0.0, 1.5 * shape[-1] ** -0.5, shape)
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def adds_one_to_norms(model: Any) -> bool:
    """Gemma multiplies by 1 + w; its GGUF files store the sum."""
    return str(model.config.model_type).startswith("gemma")


def gguf_weight(architecture: gguf.MODEL_ARCH, model: Any, name: str, weight: Array) -> Array:
    """A weight as llama.cpp's converter would store it."""
    if weight.ndim == 1:
        return weight + np.float32(1.0) if adds_one_to_norms(model) else weight
    config = model.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if architecture is not gguf.MODEL_ARCH.LLAMA or heads is None:
        return weight
    halves = weight.reshape(heads, 2, config.head_dim // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)


def stored_weights(model: Any) -> Iterator[tuple[str, Array]]:
    """All weights by name, the experts' gate and up matrices apart, as checkpoints have them."""
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        if name.endswith(".gate_up_proj"):
            gate, up = np.split(weight, 2, axis=1)
            yield name.replace("gate_up_proj", "gate_proj.weight"), gate
            yield name.replace("gate_up_proj", "up_proj.weight"), up
        else:
            yield f"{name}.weight" if ".experts." in name else name, weight


def write_gguf(path: Path, tiny: TinyModel, model: Any) -> None:
    """The model as a GGUF file of float32 tensors, without a tokenizer."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[tiny.architecture])
    writer.add_license("CC0-1.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    adders: dict[type, Callable[[str, Any], None]] = {
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
    }
    for key, value in tiny.metadata.items():
        adders[type(value)](f"{writer.arch}.{key}", value)
    if tiny.architecture is gguf.MODEL_ARCH.QWEN3MOE:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    names = gguf.get_tensor_name_map(tiny.architecture, config.num_hidden_layers)
    for name, weight in stored_weights(model):
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored is None:
            raise SystemExit(f"{name} has no name in GGUF")
        writer.add_tensor(stored, gguf_weight(tiny.architecture, model, name, weight))
    if tiny.has_rope_divisors:
        writer.add_tensor("rope_freqs.weight", rope_divisors(model))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits_of(model: Any, ids: list[int]) -> npt.NDArray[np.float32]:
    """Float32 (len(ids), vocab_size)."""
    with torch.no_grad():
        return np.asarray(model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy())


def write_outputs(path: Path, model: Any, rng: np.random.Generator) -> None:
    """What the reference computes; refuses a model whose greedy tokens hang on rounding."""
    prompt = rng.integers(0, model.config.vocab_size, PROMPT_TOKENS).tolist()
    ids, margins = list(prompt), []
    for _ in range(GREEDY_TOKENS):
        last = logits_of(model, ids)[-1]
        second, best = np.partition(last, -2)[-2:]
        margins.append(best - second)
        ids.append(int(np.argmax(last)))
    if min(margins) < SMALLEST_MARGIN:
        raise SystemExit(f"{path.stem}: a greedy step has a margin of {min(margins)}; choose another seed")
    if len(set(ids[PROMPT_TOKENS:])) < SMALLEST_VARIETY:
        raise SystemExit(f"{path.stem}: the greedy tokens repeat: {ids[PROMPT_TOKENS:]}; choose another seed")
    np.savez_compressed(
        path,
        prompt=np.array(prompt, np.int32),
        logits=logits_of(model, prompt),
        greedy=np.array(ids[PROMPT_TOKENS:], np.int32),
        greedy_margin=np.array(margins, np.float32),
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests" / "goldens"
    folder.mkdir(parents=True, exist_ok=True)
    for tiny in TINY_MODELS:
        rng = np.random.default_rng([tiny.seed, *tiny.name.encode()])
        model = tiny.model().eval()
        randomise(model, rng)
        write_gguf(folder / f"{tiny.name}.gguf", tiny, model)
        write_outputs(folder / f"{tiny.name}.npz", model, rng)
        print(f"{tiny.name}: {model.num_parameters()} weights")


if __name__ == "__main__":
    main()
