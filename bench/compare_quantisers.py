"""Compares fastgo's 4-bit rounding with llama.cpp's Q4_K_M: bits a weight, divergence and perplexity.

    python bench/compare_quantisers.py --model gemma3 --model smollm2 --calibrate CALIBRATION.txt --text TEXT.txt

Both start from the same float32 weights (shuffled_model.py), both results are run by fastgo over the same text and
held against the float32 model. llama.cpp gets no importance matrix unless --imatrix names its tool, which then reads
the text that fastgo calibrates with. Results are printed and written to bench/results as JSON.
Units: nats a token, bits a weight; perplexity is e to the mean negative log likelihood in nats.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fastgo
from fastgo.assets import repository
from fastgo.assets.convert import convert, import_model
from fastgo.assets.export import export_gguf
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.open_source import open_source
from fastgo.assets.quant import Float32s
from fastgo.assets.recipe import Recipe
from fastgo.calibration import column_importance
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
        quantiser = _program(options.llama_quantize, "llama-quantize")
        facts: dict[str, Any] = {
            "date": datetime.date.today().isoformat(),
            "command": " ".join(["python", "bench/compare_quantisers.py", *sys.argv[1:]]),
            "head": options.head,
            "text": _facts_of(options.text),
            "calibration": _facts_of(options.calibrate),
        }
        for name in options.model:
            facts[name] = _show(name, _compare(name, options, quantiser))
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
    parser.add_argument("--head", default="q6_k", choices=("q6_k", "q8_0"), help="format of embedding and head")
    parser.add_argument(
        "--llama-quantize", type=Path, help="llama.cpp's program; else beside LLAMA_BENCH, or the PATH's"
    )
    parser.add_argument("--imatrix", type=Path, help="llama.cpp's llama-imatrix, for a fourth row")
    return parser.parse_args()


def _compare(name: str, options: argparse.Namespace, quantiser: Path) -> Found:
    """Bits a weight and the comparison with float32, by kind of rounding."""
    text = options.text.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="fastgo-quantisers-") as scratch:
        folder = Path(scratch)
        twin = write_twin(repository.open_model(name), folder / "float32")
        importance = column_importance(twin, options.calibrate.read_text(encoding="utf-8"))
        made = {
            "fastgo q4-mixed": _ours(twin, folder / "plain", options.head, None),
            "fastgo q4-mixed --calibrate": _ours(twin, folder / "calibrated", options.head, importance),
            "llama.cpp Q4_K_M": _theirs(twin, folder / "theirs", quantiser, options.head, None),
        }
        if options.imatrix:
            matrix = _importance_matrix(folder, options)
            made["llama.cpp Q4_K_M --imatrix"] = _theirs(
                twin, folder / "theirs-imatrix", quantiser, options.head, matrix
            )
        found = {}
        with fastgo.load(twin.path, "cpu") as source:
            for kind, model in made.items():
                with fastgo.load(model.path, "cpu") as other:
                    found[kind] = (_bits(model), compare(source, other, text))
    return found


def _ours(twin: ModelFolder, out: Path, head: str, importance: Mapping[str, Float32s] | None) -> ModelFolder:
    with open_source(twin.path) as source:
        convert(source, out, Recipe.parse("q4-mixed", [f"{table}{head}" for table in TABLES]), importance=importance)
    return ModelFolder.open(out)


def _theirs(twin: ModelFolder, out: Path, quantiser: Path, head: str, matrix: Path | None) -> ModelFolder:
    floats, rounded = out.parent / "float32.gguf", out.with_suffix(".gguf")
    if not floats.exists():
        export_gguf(twin, floats)
    head_type = head.replace("_k", "_K")
    options = ["--token-embedding-type", head_type, "--output-tensor-type", head_type]
    options += ["--imatrix", str(matrix)] if matrix else []
    _run([str(quantiser), *options, str(floats), str(rounded), "Q4_K_M"])
    import_model(rounded, out)
    return ModelFolder.open(out)


def _importance_matrix(folder: Path, options: argparse.Namespace) -> Path:
    path = folder / "imatrix.gguf"
    _run([str(options.imatrix), "-m", str(folder / "float32.gguf"), "-f", str(options.calibrate), "-o", str(path)])
    return path


def _run(command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if process.returncode:
        raise FastgoError(f"{command[0]} ended with {process.returncode}", hint=process.stderr[-300:])


def _bits(model: ModelFolder) -> float:
    weights = sum(entry.matrix_shape[0] * entry.matrix_shape[1] for entry in model.tensors.values())
    return 8 * sum(entry.nbytes for entry in model.tensors.values()) / weights


def _program(named: Path | None, name: str) -> Path:
    bench = os.environ.get("LLAMA_BENCH")
    found = named or (Path(bench).with_name(name) if bench else Path(shutil.which(name) or name))
    if not os.access(found, os.X_OK):
        raise FastgoError(f"no program {found}", hint=f"give --{name}, the program of a built llama.cpp")
    return found


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
