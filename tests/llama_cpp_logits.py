"""llama.cpp's logits of a GGUF file, from a process of its own: some builds of it end in a fault of memory."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_CODE = """
import json, sys
import numpy as np
import llama_cpp
model, ids, text, options, out = sys.argv[1], *map(json.loads, sys.argv[2:5]), sys.argv[5]
llm = llama_cpp.Llama(model, n_ctx=64, logits_all=True, verbose=False, **options)
if text is not None:
    assert llm.tokenize(text.encode(), add_bos=ids[0] == llm.token_bos()) == ids
llm.eval(ids)
np.save(out, llm.scores[: len(ids)])
"""


def run(model: Path, ids: list[int], text: str | None = None, **options: int) -> np.ndarray:
    """The logits (len(ids), vocab_size) of `model`; `text`, if given, must become `ids` in llama.cpp too.

    Skips the test where llama_cpp is not installed or its build can't run on this processor: it lacks instructions, or
    has AMX, whose code in llama.cpp some compilers break. A file that llama.cpp refuses or aborts on fails the test.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama_cpp is not installed")
    out = model.with_suffix(".logits.npy")
    arguments = [str(model), json.dumps(ids), json.dumps(text), json.dumps(options), str(out)]
    process = subprocess.run([sys.executable, "-c", _CODE, *arguments], capture_output=True, text=True, timeout=120)
    if process.returncode == -signal.SIGILL or (process.returncode == -signal.SIGSEGV and _has_amx()):
        pytest.skip(f"llama_cpp ended with signal {-process.returncode}")
    assert process.returncode == 0, process.stderr
    return np.load(out)


def _has_amx() -> bool:
    facts = Path("/proc/cpuinfo")
    return facts.exists() and "amx_tile" in facts.read_text()
