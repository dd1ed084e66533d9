"""Makes the goldens of the models: tiny random-weight GGUF files, and what transformers computes with them.

Needs the extra `goldens`. Everything follows from the seeds below, so that a second run writes the same files:

    python tools/make_goldens.py [folder, by default tests/goldens]

For each architecture `<name>.gguf` holds float32 weights, and `<name>.npz`: `prompt` (tokens,) int32, `logits`
(tokens, vocab_size) float32 after each of them, `greedy` int32, the tokens that follow, and `greedy_margin` float32,
the best logit less the second at each of those steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
import transformers

Array = npt.NDArray[Any]

PROMPT_TOKENS = 40  # five of Gemma's windows
GREEDY_TOKENS = 24
SMALLEST_MARGIN = 0.01  # of a greedy step, far above what float32 may differ by
SMALLEST_VARIETY = 8  # different greedy tokens: a model that repeats itself shows little
CONTEXT = 2048


@dataclass(frozen=True)
class Golden:
    """One tiny model. `metadata` holds GGUF keys, without the architecture, beyond those that all models share."""

    name: str
    seed: int
    model: Callable[[], Any]
    architecture: gguf.MODEL_ARCH
    metadata: dict[str, Any]


def gemma3() -> Any:
    """Every third layer is global; a window far below the prompt; a query scale that is not head_dim's."""
    return transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(
            vocab_size=299,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=7,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            sliding_window=8,
            query_pre_attn_scalar=20,
            max_position_embeddings=CONTEXT,
            layer_types=["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(7)],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "rope_theta": 50_000.0, "factor": 4.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 2_000.0},
            },
        )
    )


def llama() -> Any:
    """Three query heads a key-value head, an output matrix of its own, a head_dim that is no power of two."""
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=301,
            hidden_size=42,
            intermediate_size=60,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=12,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            tie_word_embeddings=False,
        )
    )


def qwen3() -> Any:
    """One key-value head, norms of the q and k heads, tied embeddings."""
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=20,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            tie_word_embeddings=True,
        )
    )


GOLDENS = (
    Golden(
        "gemma3",
        1,
        gemma3,
        gguf.MODEL_ARCH.GEMMA3,
        {
            "attention.sliding_window": 8,
            "attention.sliding_window_pattern": 3,
            "attention.scale": 20.0**-0.5,
            "rope.freq_base": 50_000.0,
            "rope.freq_base_swa": 2_000.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 4.0,
        },
    ),
    Golden("llama", 5, llama, gguf.MODEL_ARCH.LLAMA, {"rope.freq_base": 100_000.0}),
    Golden("qwen3", 12, qwen3, gguf.MODEL_ARCH.QWEN3, {"rope.freq_base": 1_000_000.0}),
)


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Fills all weights so that no layer is idle: rows of about unit gain, norms that differ from one."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if len(shape) == 1:
                values = rng.uniform(-0.5, 0.5, shape) + (0.0 if adds_one_to_norms(model) else 1.0)
            elif "embed_tokens" in name:
                values = rng.normal(0.0, 0.2, shape)
            else:
                values = rng.normal(0.0, 1.5 * shape[1] ** -0.5, shape)
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def adds_one_to_norms(model: Any) -> bool:
    """Gemma multiplies by 1 + w; its GGUF files store the sum."""
    return str(model.config.model_type).startswith("gemma")


def gguf_weight(model: Any, name: str, weight: Array) -> Array:
    """A weight as llama.cpp's converter would store it."""
    if weight.ndim == 1:
        return weight + np.float32(1.0) if adds_one_to_norms(model) else weight
    config = model.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if config.model_type != "llama" or heads is None:
        return weight
    halves = weight.reshape(heads, 2, config.head_dim // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)


def write_gguf(path: Path, golden: Golden, model: Any) -> None:
    """The model as a GGUF file of float32 tensors, without a tokenizer."""
    config = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[golden.architecture])
    writer.add_license("CC0-1.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    adders: dict[type, Callable[[str, Any], None]] = {
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
    }
    for key, value in golden.metadata.items():
        adders[type(value)](f"{writer.arch}.{key}", value)
    names = gguf.get_tensor_name_map(golden.architecture, config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        stored = names.get_name(name, try_suffixes=(".weight",))
        if stored is None:
            raise SystemExit(f"{name} has no name in GGUF")
        writer.add_tensor(stored, gguf_weight(model, name, parameter.detach().numpy()))
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
    for golden in GOLDENS:
        rng = np.random.default_rng([golden.seed, *golden.name.encode()])
        model = golden.model().eval()
        randomise(model, rng)
        write_gguf(folder / f"{golden.name}.gguf", golden, model)
        write_outputs(folder / f"{golden.name}.npz", model, rng)
        print(f"{golden.name}: {model.num_parameters()} weights")


if __name__ == "__main__":
    main()
