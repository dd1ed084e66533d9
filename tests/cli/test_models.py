"""`fastgo convert`, `verify`, `rm`, `cache`, `list` and `inspect --fit` over small models."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastgo.assets import manifest, repository
from fastgo.assets.model_folder import ModelFolder
from fastgo.cli.app import app
from hf_builder import tensors, write_hf
from typer.testing import CliRunner, Result

RUNNER = CliRunner()


def invoke(*arguments: object) -> Result:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_convert_prints_sizes_and_bits(tmp_path: Path, cache: Path) -> None:
    write_hf(tmp_path / "m", "qwen3")
    result = invoke("convert", tmp_path / "m", tmp_path / "out", "--quantize", "q8", "--keep", "*.mlp.*=f16")
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^q8_0 +9 +\d+ .* 8\.50$", result.stdout, re.MULTILINE)
    assert re.search(r"^f16 +6 +\d+ .* 16\.00$", result.stdout, re.MULTILINE)
    assert re.search(r"^all +", result.stdout, re.MULTILINE)
    assert {entry.format for entry in ModelFolder.open(tmp_path / "out").tensors.values()} == {"q8_0", "f16", "f32"}
    assert invoke("convert", tmp_path / "m", tmp_path / "out").exit_code == 2
    assert invoke("convert", tmp_path / "m", tmp_path / "out", "--force", "--shard-size", "40k").exit_code == 0
    assert len(ModelFolder.open(tmp_path / "out").manifest.shards) > 3
    assert not cache.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--quantize", "q3"],
        ["--keep", "x"],
        ["--shard-size", "0"],
        ["--shard-size", "-1G"],
        ["--text", "no/such"],
        ["--group-size", "64"],
        ["--group-size", "16", "--quantize", "q4"],
        ["--group-size", "64", "--quantize", "q4-mixed"],
        ["--rope-base", "-5"],
        ["--rope-base", "nan"],
        ["--rope-scaling", "dynamic:2"],
        ["--rope-scaling", "yarn"],
        ["--rope-scaling", "yarn:0"],
        ["--rope-scaling", "yarn:1e400"],
        ["--rope-scaling", '{"rope_type": "llama3", "factor": 8}'],
        ["--rope-scaling", "{"],
    ],
    ids=" ".join,
)
def test_wrong_options(tmp_path: Path, options: list[str]) -> None:
    write_hf(tmp_path / "m")
    result = invoke("convert", tmp_path / "m", tmp_path / "out", *options)
    assert result.exit_code == 2 and not result.stdout and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--quantize", "q4", "--group-size", "64"], {"int4_g64", "q8_0", "f32"}),
        (["--quantize", "q8", "--group-size", "128"], {"int8_g128", "int8_g64", "f32"}),
        (["--quantize", "q8", "--group-size", "32"], {"q8_0", "f32"}),
    ],
    ids=lambda value: " ".join(value),
)
def test_group_sizes(tmp_path: Path, options: list[str], wanted: set[str]) -> None:
    write_hf(tmp_path / "m")
    result = invoke("convert", tmp_path / "m", tmp_path / "out", *options)
    assert result.exit_code == 0, result.stderr
    assert {entry.format for entry in ModelFolder.open(tmp_path / "out").tensors.values()} == wanted


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (["--rope-base", "500"], {"rope_theta": 500.0}),
        (["--rope-scaling", "linear:4"], {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
        (["--rope-scaling", "yarn:2"], {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
        (["--rope-scaling", json.dumps(YARN), "--rope-base", "1e3"], {"rope_scaling": YARN, "rope_theta": 1e3}),
        (["--rope-scaling", "llama3:8"], {"rope_scaling": LLAMA3}),
    ],
    ids=lambda value: " ".join(value),
)
def test_another_rotary_embedding(tmp_path: Path, options: list[str], changes: dict[str, object]) -> None:
    """As if config.json had said so; and without it again."""
    import fastgo

    weights = {name: values * 8 for name, values in tensors().items()}
    write_hf(tmp_path / "plain", weights=weights)
    write_hf(tmp_path / "told", weights=weights, **changes)
    for source, out, given in (("plain", "a", options), ("told", "b", []), ("a", "c", ["--rope-scaling", "none"])):
        result = invoke("convert", tmp_path / source, tmp_path / out, *given)
        assert result.exit_code == 0, result.stderr
    found, wanted, back = (ModelFolder.open(tmp_path / name).config for name in ("a", "b", "c"))
    assert (found.rope, found.local_rope) == (wanted.rope, None)
    assert found.max_position_embeddings == max(256, int((found.rope.original_context or 256) * found.rope.factor))
    assert (back.rope.scaling, back.rope.factor, back.rope.theta) == ("linear", 1.0, found.rope.theta)
    ids = list(range(5, 45))
    logits = []
    for name in ("plain", "a", "b"):
        with fastgo.load(tmp_path / name, "cpu", context=64) as model:
            logits.append(model.logits(ids))
    assert np.array_equal(logits[1], logits[2]) and np.abs(logits[0] - logits[1]).max() > 1e-2


def test_export(tmp_path: Path, cache: Path) -> None:
    write_hf(tmp_path / "m", "qwen3")
    assert invoke("convert", tmp_path / "m", tmp_path / "out", "--quantize", "q8").exit_code == 0
    result = invoke("export", tmp_path / "out", tmp_path / "out.gguf")
    assert result.exit_code == 0 and "tensors" in result.stderr and not result.stdout
    assert invoke("inspect", tmp_path / "out.gguf").exit_code == 0
    assert invoke("export", tmp_path / "out", tmp_path / "out.gguf").exit_code == 2
    assert invoke("export", tmp_path / "out", tmp_path / "out.gguf", "--force").exit_code == 0
    assert invoke("export", tmp_path / "out", tmp_path / "out.bin").exit_code == 2


def test_convert_of_nothing(tmp_path: Path, cache: Path) -> None:
    assert invoke("convert", "nosuch", tmp_path / "out").exit_code == 3
    assert invoke("convert", tmp_path, tmp_path / "out").exit_code == 3


@pytest.mark.real
def test_check_compares_with_the_source(tmp_path: Path, smollm2_gguf: Path, cache: Path) -> None:
    pytest.importorskip("fastgo._fastmetal")
    (tmp_path / "text").write_text("The tide comes in twice a day, and goes out as often.")
    options = ("--check", "--text", tmp_path / "text")
    same = invoke("convert", smollm2_gguf, tmp_path / "same", *options)
    assert "KL divergence           0 nats" in same.stdout, same.stderr
    smaller = invoke("convert", smollm2_gguf, tmp_path / "smaller", "--quantize", "q4-mixed", *options)
    match = re.search(r"KL divergence +(\S+) nats", smaller.stdout)
    assert match and 0 < float(match[1]) < 0.05


def test_verify_names_the_first_damaged_tensor(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    invoke("convert", tmp_path / "m", tmp_path / "out")
    assert invoke("verify", tmp_path / "out").stdout == "m: 20 tensors in 1 files are sound\n"
    folder = ModelFolder.open(tmp_path / "out")
    name = "model.layers.1.mlp.up_proj.weight"
    data = bytearray(folder.shard_path(0).read_bytes())
    data[folder.tensors[name].offset + 5] ^= 1
    folder.shard_path(0).write_bytes(data)
    result = invoke("verify", tmp_path / "out")
    assert result.exit_code == 4 and name in result.stderr
    data[20] ^= 1
    data[folder.tensors[name].offset + 5] ^= 1
    folder.shard_path(0).write_bytes(data)
    assert "the header of weights-00001" in invoke("verify", tmp_path / "out").stderr


def test_list_tells_the_last_use_and_rm_removes(tmp_path: Path, cache: Path) -> None:
    write_hf(tmp_path / "first")
    write_hf(tmp_path / "second", "qwen3")
    paths = {name: repository.open_model(tmp_path / name).path for name in ("first", "second")}
    os.utime(repository.used_path(paths["first"].name), (1e9, 1e9))
    table = invoke("list").stdout
    assert re.search(r"^first +llama .* \d+ days ago ", table, re.MULTILINE)
    assert re.search(r"^second +qwen3 .* just now ", table, re.MULTILINE)
    repository.open_model("first")
    sizes = {name: sum(file.stat().st_size for file in path.iterdir()) for name, path in paths.items()}
    models = json.loads(invoke("list", "--format", "json").stdout)["models"]
    assert all(model["last_used"] > 1.5e9 for model in models)
    assert {model["name"]: model["bytes"] for model in models} == sizes

    result = invoke("rm", "first")
    assert result.exit_code == 0 and str(paths["first"]) in result.stdout
    assert not paths["first"].exists() and paths["second"].exists()
    assert invoke("rm", "first").exit_code == 3
    repository.open_model(tmp_path / "first").verify()


def test_an_older_import_of_the_name_comes_second_and_goes_too(tmp_path: Path, cache: Path) -> None:
    write_hf(tmp_path / "m")
    ready = repository.open_model(tmp_path / "m").path
    older = ready.with_name("0" * 32 + f".{manifest.IMPORTER_VERSION - 1}")
    shutil.copytree(ready, older)
    assert [model.path for model in repository.list_models()] == [ready, older]
    assert repository.open_model("m").path == ready
    assert invoke("rm", "m").exit_code == 0
    assert not ready.exists() and not older.exists()


def test_prune_keeps_what_is_ready(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hf(tmp_path / "m")
    ready = repository.open_model(tmp_path / "m").path
    older = ready.with_name("0" * 32 + f".{manifest.IMPORTER_VERSION - 1}")
    damaged = ready.with_name("1" * 32 + f".{manifest.IMPORTER_VERSION}")
    half_made = ready.with_name(f".{damaged.name}.importing-work")
    for path in (older, damaged, half_made):
        path.mkdir()
        (path / "weights").write_bytes(b"x" * 1000)
    uses = {
        Path(item["path"]): item["use"] for item in json.loads(invoke("cache", "--format", "json").stdout)["entries"]
    }
    assert uses == {ready: "ready", older: "older version", damaged: "damaged", half_made: "half-made"}
    assert "removed" in invoke("cache", "--prune").stderr
    assert list(ready.parent.iterdir()) == [ready]
    assert json.loads(invoke("cache", "--prune", "--format", "json").stdout)["removed"] == []


def test_prune_leaves_an_import_that_runs_alone(tmp_path: Path, cache: Path) -> None:
    from fastgo.assets.storage import exclusive_lock

    write_hf(tmp_path / "m")
    ready = repository.open_model(tmp_path / "m").path
    running = ready.with_name(f".{'2' * 32}.{manifest.IMPORTER_VERSION}.importing-work")
    running.mkdir()
    with exclusive_lock(cache / "locks" / f"{'2' * 32}.{manifest.IMPORTER_VERSION}"):
        invoke("cache", "--prune")
        assert running.exists()
    invoke("cache", "--prune")
    assert not running.exists()


def test_fit_is_what_a_run_takes_and_refuses_what_is_too_much(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastgo._fastmetal")
    from fastgo.engine import fit
    from fastgo.engine.devices import open_device

    write_hf(tmp_path / "m", "gemma3", max_position_embeddings=4096)
    folder = repository.open_model(tmp_path / "m")
    facts = json.loads(invoke("inspect", tmp_path / "m", "--fit", "--context", 1000, "--format", "json").stdout)
    # 2 layers, keys and values, 2 heads of 32 float32 numbers a token.
    assert facts["kv_cache"] == 2 * 2 * 2 * 32 * 4 * 1000
    assert facts["weights"] == folder.nbytes and facts["fits"] and facts["largest_context"] == 4096
    assert facts["total"] == facts["weights"] + facts["kv_cache"] + facts["scratch"]

    narrow = invoke("inspect", tmp_path / "m", "--fit", "--context", 1000, "--kv-cache", "bf16", "--format", "json")
    assert json.loads(narrow.stdout)["kv_cache"] == facts["kv_cache"] // 2
    assert invoke("inspect", tmp_path / "m", "--fit", "--kv-cache", "f8").exit_code == 2

    def estimate(context: int, room: int) -> fit.Fit:
        device = open_device(None)
        info = {**device.info, "memory_bytes": room}
        return fit.estimate(folder, context, SimpleNamespace(info=info, heap_alignment=device.heap_alignment))

    whole = estimate(4096, 1 << 40)
    room = whole.weights + whole.scratch + whole.kv_cache // 2
    tight = estimate(4096, room)
    assert not tight.fits and 2040 <= tight.largest_context <= 2048
    assert estimate(tight.largest_context, room).fits
    assert not estimate(tight.largest_context + 8, room).fits
    assert estimate(1, 1000).largest_context == 0

    monkeypatch.setattr(fit, "estimate", lambda *_: tight)
    result = invoke("inspect", tmp_path / "m", "--fit")
    assert result.exit_code == 7
    assert f"the largest context that fits has {tight.largest_context} tokens" in result.stderr
    assert invoke("inspect", tmp_path / "m", "--fit", "--context", 4097).exit_code == 2


def test_prune_removes_records_of_what_is_gone(tmp_path: Path, cache: Path) -> None:
    write_hf(tmp_path / "first")
    write_hf(tmp_path / "second", "qwen3")
    paths = {name: repository.open_model(tmp_path / name).path for name in ("first", "second")}
    repository.note_name("hf:a/first", ModelFolder.open(paths["first"]))
    repository.note_name("hf:a/second", ModelFolder.open(paths["second"]))
    assert invoke("rm", "hf:a/first").exit_code == 0 and not paths["first"].exists()
    assert invoke("rm", "hf:a/first").exit_code == 3
    assert len(list((cache / "names").iterdir())) == len(list((cache / "sources").iterdir())) == 2
    assert invoke("cache", "--prune").exit_code == 0
    for kind in ("names", "sources", "used"):
        assert len(list((cache / kind).iterdir())) == 1
    assert repository.open_model("hf:a/second").path == paths["second"]


def test_licence_files_come_along(tmp_path: Path, cache: Path) -> None:
    write_hf(tmp_path / "m", files={"LICENSE.txt": "free", "NOTICE": "of us", "LICENSE.py": "code", "notes.txt": "no"})
    assert invoke("convert", tmp_path / "m", tmp_path / "out").exit_code == 0
    assert invoke("convert", tmp_path / "out", tmp_path / "again", "--quantize", "q8").exit_code == 0
    for name in ("out", "again"):
        texts = {path.name: path.read_text() for path in (tmp_path / name).iterdir() if path.suffix in ("", ".txt")}
        assert texts == {"LICENSE.txt": "free", "NOTICE": "of us"}


def test_a_second_start_reads_nothing_but_mapped_pages(tmp_path: Path, cache: Path) -> None:
    """What a process reads by calls is counted by the kernel; pages of mapped files are not. The model runs, too."""
    pytest.importorskip("fastgo._fastmetal")
    if not Path("/proc/self/io").exists():
        pytest.skip("needs Linux's counters of a process")
    write_hf(tmp_path / "m", weights=tensors() | {"model.embed_tokens.weight": np.ones((1 << 18, 64), np.float32)})
    code = """
import sys
from pathlib import Path
from types import SimpleNamespace
import fastgo
from fastgo.assets.repository import open_model
def count(): return int(dict(line.split(": ") for line in open("/proc/self/io"))["rchar"])
before = count()
model = open_model(Path(sys.argv[1]))
with fastgo.load(Path(sys.argv[1]), "cpu") as llm:
    tokens = list(llm.generate_ids([1, 2, 3], max_tokens=3, temperature=0))
total = sum(int(model.planar(name).sum()) for name in model.tensors)
print(count() - before, model.nbytes, total > 0 and len(tokens) == 3)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path / "m")]
    runs = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    (first, nbytes, _), (second, _, used) = (run.stdout.split() for run in runs)
    assert int(first) > int(nbytes) > 64 << 20 and used == "True"
    # The manifest, samples of the source's files by which it is known again, and modules of Python.
    assert int(second) < 4 << 20
