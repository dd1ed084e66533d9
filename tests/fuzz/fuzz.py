"""Fuzzes one reader with atheris (libFuzzer for Python); see README.md beside this file.

python tests/fuzz/fuzz.py TARGET [libFuzzer's options] [corpus folders]
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["fastgo", "jinja2", "json"]):
    import fuzz_targets

import fuzz_seeds
import json_mutator

_MUTATORS = {
    name: json_mutator.mutate
    for name in ("manifest", "model_folder", "hf_folder", "hf_config", "tokenizer_json", "loaded_tokenizer", "engine")
}
_MUTATORS |= {"safetensors": json_mutator.mutate_safetensors}
_BYTES_EVERY = 5  # one mutation of so many is libFuzzer's own


def main() -> None:
    """Runs until libFuzzer's own limits end it."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in fuzz_targets.TARGETS:
        sys.exit(f"expected a target, one of {', '.join(fuzz_targets.TARGETS)}")
    seeds = fuzz_seeds.seeds()[name]
    keys = json_mutator.keys_of(seeds)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % _BYTES_EVERY == 0:
            return bytes(atheris.Mutate(data, max_size))
        return _MUTATORS[name](data, seed, seeds[seed % len(seeds)], keys)[:max_size]

    options = {"custom_mutator": mutate} if name in _MUTATORS else {}
    atheris.Setup(sys.argv, lambda data: fuzz_targets.run(name, data) and None, **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
