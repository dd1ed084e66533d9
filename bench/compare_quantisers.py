"""Compares fastgo's 4-bit rounding with llama.cpp's Q4_K_M: bits a weight, divergence and perplexity.

    python bench/compare_quantisers.py --model gemma3 --model smollm2 --calibrate CALIBRATION.txt --text TEXT.txt

Both start from the same float32 weights (shuffled_model.py), both results are run by fastgo over the same text and
held against the float32 model. llama.cpp is that of the llama-cpp-python package, without an importance matrix.
Results are printed and written to bench/results as JSON.
Units: nats a token, bits a weight; perplexity is e to the mean negative log likelihood in nats.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastgo
from fastgo.assets import repository
from fastgo.assets.convert import convert, import_model
from fastgo.assets.export import export_gguf
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.open_source import open_source
from fastgo.assets.quant import FORMATS, Float32s
from fastgo.assets.recipe import Recipe
from fastgo.bench import machine
from fastgo.calibration import column_importance
from fastgo.engine.devices import open_device
from fastgo.errors import FastgoError
from fastgo.evaluation import Comparison, compare
from shuffled_model import write_twin

RESULTS = Path(__file__).parent / "results"
TABLES = ("model.embed_tokens.weight=", "lm_head.weight=")
Found = Mapping[str, tuple[float, Comparison]]


def main() -> None:
    """Runs the command line; exits with the code of fastgo.errors on a failure."""
    options = _options()
    try:
        facts: dict[str, Any] = {
            "date": datetime.date.today().isoformat(),
            "command": " ".join(["python", "bench/compare_quantisers.py", *sys.argv[1:]]),
            **machine.facts(open_device("cpu")),
            "head": options.head,
            "llama_cpp_python": version("llama-cpp-python"),
            "text": _facts_of(options.text),
            "calibration": _facts_of(options.calibrate),
        }
        for name in options.model:
            facts[name] = _show(name, _compare(name, options))
    except FastgoError as error:
        sys.exit(f"compare_quantisers: {error.message} ({error.hint})")
    path = RESULTS / f"quantisers-{'-'.join(options.model)}-{facts['date']}.json"
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", required=True, help="a name that `fastgo run` takes; repeatable")
    parser.add_argument("--text", type=Path, required=True, help="the text that models are compared on")
    parser.add_argument("--calibrate", type=Path, required=True, help="another text, to calibrate with")
    parser.add_argument("--head", choices=("q6_k", "q8_0"), help="format of embedding and head, if not as each chooses")
    return parser.parse_args()


def _compare(name: str, options: argparse.Namespace) -> Found:
    """Bits a weight and the comparison with float32, by kind of rounding."""
    text = options.text.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="fastgo-quantisers-") as scratch:
        folder = Path(scratch)
        twin = write_twin(repository.open_model(name), folder / "float32")
        importance = column_importance(twin, options.calibrate.read_text(encoding="utf-8"))
        made = {
            "fastgo q4-mixed": _ours(twin, folder / "plain", options.head, None),
            "fastgo q4-mixed --calibrate": _ours(twin, folder / "calibrated", options.head, importance),
            "llama.cpp Q4_K_M": _theirs(twin, folder, options.head),
        }
        found = {}
        with fastgo.load(twin.path, "cpu") as source:
            for kind, model in made.items():
                with fastgo.load(model.path, "cpu") as other:
                    found[kind] = (_bits(model), compare(source, other, text))
    return found


def _ours(twin: ModelFolder, out: Path, head: str | None, importance: Mapping[str, Float32s] | None) -> ModelFolder:
    with open_source(twin.path) as source:
        rules = [f"{table}{head}" for table in TABLES] if head else []
        convert(source, out, Recipe.parse("q4-mixed", rules), importance=importance)
    return ModelFolder.open(out)


def _theirs(twin: ModelFolder, scratch: Path, head: str | None) -> ModelFolder:
    import llama_cpp

    floats, rounded = scratch / "float32.gguf", scratch / "q4_k_m.gguf"
    export_gguf(twin, floats)
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
    if head:
        options.token_embedding_type = options.output_tensor_type = FORMATS[head].gguf_type_id
    code = llama_cpp.llama_model_quantize(str(floats).encode(), str(rounded).encode(), ctypes.byref(options))
    if code:
        raise FastgoError(f"llama.cpp's quantiser ended with {code}", hint="its reason stands above")
    import_model(rounded, scratch / "theirs")
    return ModelFolder.open(scratch / "theirs")


def _bits(model: ModelFolder) -> float:
    weights = sum(entry.matrix_shape[0] * entry.matrix_shape[1] for entry in model.tensors.values())
    return 8 * sum(entry.nbytes for entry in model.tensors.values()) / weights


def _facts_of(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return {"file": path.name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _show(name: str, found: Found) -> dict[str, Any]:
    tokens = next(iter(found.values()))[1].tokens
    print(f"{name}, {tokens} tokens")
    for kind, (bits, comparison) in found.items():
        print(
            f"  {kind:28}  {bits:.3f} bits a weight  divergence {comparison.kl_divergence:.4f}  "
            f"perplexity {comparison.perplexity:.3f} ({comparison.source_perplexity:.3f})  "
            f"same token {comparison.same_top:.1%}"
        )
    return {kind: {"bits_a_weight": bits, **asdict(comparison)} for kind, (bits, comparison) in found.items()}


if __name__ == "__main__":
    main()
