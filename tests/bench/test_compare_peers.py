"""bench/compare_peers.py over programs that pretend to be llama.cpp's, and fastgo itself on a small real model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fastgo.errors import CacheError, FastgoError
from places import ROOT

BENCH = """#!{python}
import json, sys
argument = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert argument["-t"] == "1" and argument["-r"] == "1", sys.argv
print(json.dumps([{{"samples_ts": [1.0, 4.0, 2.0], "cpu_info": "none", "build_commit": "abc", "backends": "CPU"}}]))
"""
BATCHED = """#!{python}
import sys
argument = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert argument["-npl"] == "8" and int(argument["-c"]) >= 8 * (int(argument["-npp"]) + int(argument["-ntg"])), sys.argv
print("main: some words first")
print('{{"n_kv_max": 2048, "pl": 8, "speed_pp": 1.0, "speed_tg": 12.5}}')
"""
COMPLETE = """#!{python}
import sys
prompt = open(sys.argv[sys.argv.index("-f") + 1]).read()
assert len(prompt.split()) > 100
print("x")
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, text in (("llama-bench", BENCH), ("llama-completion", COMPLETE), ("llama-batched-bench", BATCHED)):
        (tmp_path / name).write_text(text.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    return tmp_path / "llama-bench"


def test_programs_are_found_by_the_environment(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llama_bench import find_or_build

    monkeypatch.setenv("LLAMA_BENCH", str(programs))
    found = find_or_build(programs.parent / "unused", 1)
    folder = programs.parent.resolve()
    assert found.bench == programs.resolve() and found.complete == folder / "llama-completion"
    assert found.batched == folder / "llama-batched-bench"
    monkeypatch.setenv("LLAMA_BENCH", str(programs.parent / "nosuch"))
    with pytest.raises(FastgoError, match="is no program"):
        find_or_build(programs.parent / "unused", 1)


def test_a_failed_build_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import llama_bench

    monkeypatch.delenv("LLAMA_BENCH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    source = tmp_path / "cache" / "llama_cpp_python-1.0" / "vendor" / "llama.cpp"
    source.mkdir(parents=True)
    (tmp_path / "cache" / "llama_cpp_python-1.0.tar.gz").touch()
    (tmp_path / "cmake").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "cmake").chmod(0o755)
    with pytest.raises(CacheError, match=r"ended with 3; see .*build\.log"):
        llama_bench.find_or_build(tmp_path / "cache", 1)


def test_figures_of_llama_cpp_are_medians(programs: Path) -> None:
    from fastgo.bench.speed import SpeedTest
    from llama_bench import LlamaCpp
    from peers import LlamaPeer

    peer = LlamaPeer(LlamaCpp(programs, None, programs.parent / "llama-batched-bench"), Path("model.gguf"), threads=1)
    assert peer.tokens_per_s(SpeedTest("tg", 128, batch=8), 1) == 12.5
    assert peer.tokens_per_s(SpeedTest("tg", 128, depth=2048), 1) == 2.0
    assert peer.facts == {"build_commit": "abc", "cpu_info": "none", "backends": "CPU"}
    with pytest.raises(FastgoError, match="ended with 1: AssertionError"):
        peer.tokens_per_s(SpeedTest("tg", 128), 2)


def test_ratios_are_of_pairs_and_above_1_when_fastgo_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    from compare_peers import Pair, _row

    speed = _row(
        "pp32",
        [Pair(4.0, 2.0, 0.0), Pair(9.0, 3.0, 0.5), Pair(1.0, 1.0, None)],
        smaller_is_better=False,
        unit="tokens/s",
    )
    assert speed["ratio"] == {"median": 2.0, "min": 1.0, "max": 3.0} and speed["fastgo"] == 4.0
    assert speed["others"] == 0.5
    times = _row("start", [Pair(1.0, 4.0, None)], smaller_is_better=True, unit="s")
    assert times["ratio"]["median"] == 4.0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how busy others are")
def test_what_others_use_is_seen() -> None:
    from quiet import OthersLoad

    spin = "import time; end = time.monotonic() + 0.6\nwhile time.monotonic() < end: pass"
    foreign = OthersLoad()
    process = subprocess.Popen([sys.executable, "-c", spin])
    time.sleep(0.5)
    disturbed = foreign.fraction()
    process.wait()
    assert disturbed is not None and disturbed > 0.2 / (os.cpu_count() or 1)


@pytest.mark.real
def test_a_whole_comparison(
    programs: Path, smollm2_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--model", str(smollm2_gguf), "--threads", "1", "--pairs", "1", "--repeats", "1", "--patience", "0"]
    code = "import compare_peers as c; c.SPEED_TESTS = c.SPEED_TESTS[:1]; c.PROMPT_TOKENS = 128; c.main()"
    environment = {
        **os.environ,
        "LLAMA_BENCH": str(programs),
        "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT / "bench")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *options, "--results", str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("peers-*.json")
    result = json.loads(written.read_text())
    assert [row["test"] for row in result["rows"]] == ["pp32", "start to first token after 128", "peak memory"]
    assert all(row["ratio"]["median"] > 0 for row in result["rows"])
    assert result["fastgo"]["version"] and str(tmp_path) not in written.read_text()
    # Rows that a later run measures anew replace those of the file that it completes.
    pieces = [*options, "--results", str(tmp_path), "--into", str(written), "--test", "start"]
    done = subprocess.run(
        [sys.executable, "-c", code, *pieces], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [row["test"] for row in json.loads(written.read_text())["rows"]] == [row["test"] for row in result["rows"]]
