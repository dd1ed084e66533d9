"""Conversions: recipes, the same bytes every time, going on after a kill, bounded memory, nothing lost by --force."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastgo.assets import storage
from fastgo.assets.convert import convert
from fastgo.assets.manifest import Manifest, ShardEntry
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.open_source import open_source
from fastgo.assets.quant import FORMATS
from fastgo.assets.recipe import Recipe
from fastgo.assets.resume import ConversionLog
from fastgo.errors import CacheError, UsageError
from hf_builder import tensors, write_hf


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(source: Path, out: Path, recipe: Recipe | None = None, **options: object) -> Manifest:
    with open_source(source) as opened:
        return convert(opened, out, recipe or Recipe(), **options)  # type: ignore[arg-type]


def format_of(recipe: Recipe, name: str, shape: tuple[int, ...] = (512, 256), stored: str = "bf16") -> str:
    from fastgo.assets.hf_config import config_from_hf
    from hf_builder import config

    layers = config_from_hf(config(num_hidden_layers=16), 96, False, "")
    return recipe.format_of(name, shape, FORMATS[stored], layers).name


def test_presets() -> None:
    q, down = "model.layers.5.self_attn.q_proj.weight", "model.layers.{}.mlp.down_proj.weight"
    assert format_of(Recipe(), q) == "bf16"
    assert format_of(Recipe("q8"), q) == "q8_0"
    assert format_of(Recipe("q4"), q) == "q4_0"
    assert format_of(Recipe("q4-mixed"), q) == "q4_k"
    assert [format_of(Recipe("q4-mixed"), down.format(layer)) for layer in (0, 2, 4, 15)] == [
        "q6_k", "q4_k", "q6_k", "q6_k",
    ]  # fmt: skip
    assert format_of(Recipe("q4"), "lm_head.weight") == "q6_k"
    assert format_of(Recipe("q8"), "model.norm.weight", (256,), "f16") == "f32"
    assert format_of(Recipe("q4"), "model.layers.5.mlp.gate.weight") == "bf16"


def test_presets_fall_back_where_rows_are_short_and_never_grow_a_tensor() -> None:
    q = "model.layers.5.self_attn.q_proj.weight"
    assert format_of(Recipe("q4-mixed"), q, (64, 160)) == "q5_0"
    assert format_of(Recipe("q4"), "lm_head.weight", (64, 160)) == "q8_0"
    assert format_of(Recipe("q4"), q, (64, 40)) == "bf16"
    assert format_of(Recipe("q8"), q, stored="q4_k") == "q4_k"


def test_rules_come_first() -> None:
    recipe = Recipe.parse("q4", ["lm_head.weight=q8_0", "model.layers.1.*=bf16", "*=q6_k"])
    assert format_of(recipe, "lm_head.weight") == "q8_0"
    assert format_of(recipe, "model.layers.1.mlp.up_proj.weight") == "bf16"
    assert format_of(recipe, "model.layers.2.mlp.up_proj.weight") == "q6_k"
    with pytest.raises(UsageError, match="multiple of 256"):
        format_of(recipe, "model.layers.2.mlp.up_proj.weight", (64, 160))


@pytest.mark.parametrize("rule", ["lm_head.weight", "=q8_0", "x=q9", "x="])
def test_wrong_rules(rule: str) -> None:
    with pytest.raises(UsageError, match="NAME=FORMAT"):
        Recipe.parse("q4", [rule])


def test_wrong_preset() -> None:
    with pytest.raises(UsageError, match="expected one of none"):
        Recipe.parse("q3", [])


@pytest.mark.parametrize("preset", ["none", "q8", "q4-mixed"])
def test_the_same_bytes_every_time(tmp_path: Path, preset: str) -> None:
    write_hf(tmp_path / "m")
    first = run(tmp_path / "m", tmp_path / "a", Recipe(preset), max_shard_nbytes=30_000, jobs=1)
    second = run(tmp_path / "m", tmp_path / "b", Recipe(preset), max_shard_nbytes=30_000, jobs=3)
    assert first == second and len(first.shards) > 2
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert first.provenance.recipe == preset


def test_quantised_weights_are_close_and_norms_exact(tmp_path: Path) -> None:
    weights = write_hf(tmp_path / "m", "gemma3")
    run(tmp_path / "m", tmp_path / "out", Recipe("q8"))
    folder = ModelFolder.open(tmp_path / "out")
    folder.verify()
    for name, values in weights.items():
        if values.ndim == 1:
            np.testing.assert_array_equal(folder.weights(name), values + np.float32(1))
        else:
            assert folder.tensors[name].format == "q8_0"
            assert np.abs(folder.weights(name) - values).max() < np.abs(values).max() / 250


def test_a_model_folder_is_a_source_too(tmp_path: Path) -> None:
    write_hf(tmp_path / "m", "gemma3")
    first = run(tmp_path / "m", tmp_path / "a", Recipe.parse("none", ["*.mlp.*=q8_0"]))
    second = run(tmp_path / "a", tmp_path / "b", max_shard_nbytes=50_000)
    assert {name: entry.sha256 for name, entry in first.tensors.items()} == {
        name: entry.sha256 for name, entry in second.tensors.items()
    }
    assert len(second.shards) > 1 and ModelFolder.open(tmp_path / "b").name == "m"
    smaller = run(tmp_path / "a", tmp_path / "c", Recipe.parse("q4", []))
    assert {entry.format for entry in smaller.tensors.values()} == {"q4_0", "q8_0", "f32"}
    recipes = [ModelFolder.open(tmp_path / name).manifest.provenance.recipe for name in "abc"]
    assert recipes == ["none *.mlp.*=q8_0", "none; source: none *.mlp.*=q8_0", "q4; source: none *.mlp.*=q8_0"]
    assert run(tmp_path / "b", tmp_path / "d").provenance.recipe == recipes[1]


def test_force_replaces_models_only(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    run(tmp_path / "m", tmp_path / "out")
    with pytest.raises(UsageError, match="exists already"):
        run(tmp_path / "m", tmp_path / "out", Recipe("q8"))
    run(tmp_path / "m", tmp_path / "out", Recipe("q8"), force=True)
    assert ModelFolder.open(tmp_path / "out").manifest.provenance.recipe == "q8"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for name in ("photos", "link", "photos/cat.jpg"):
        with pytest.raises(UsageError, match="not replaced"):
            run(tmp_path / "m", tmp_path / name, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "m", "out", "photos"]


def test_a_model_may_replace_itself(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    run(tmp_path / "m", tmp_path / "out")
    run(tmp_path / "out", tmp_path / "out", Recipe("q8"), force=True)
    ModelFolder.open(tmp_path / "out").verify()


def test_a_full_disk_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hf(tmp_path / "m")
    usage = storage.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CacheError, match="are needed"):
        run(tmp_path / "m", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


CONVERT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from fastgo.assets import resume
from fastgo.assets.convert import convert
from fastgo.assets.open_source import open_source
from fastgo.assets.recipe import Recipe
resume.NOTE_EVERY_NBYTES = 10_000
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what they run in the background ignore it
end, shard, number = float(sys.argv[3]), int(sys.argv[4]), getattr(signal, sys.argv[5])
def progress(done, total, what):
    if what.startswith("importing") and done > total * end:
        os.kill(os.getpid(), number)
with open_source(Path(sys.argv[1])) as source:
    convert(source, Path(sys.argv[2]), Recipe("q8"), progress=progress, max_shard_nbytes=shard)
"""


def kill_half_way(source: Path, out: Path, end: float = 0.7, shard: int = 20_000, name: str = "SIGKILL") -> int:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CONVERT_AND_DIE, *map(str, (source, out, end, shard, name))]
    return subprocess.run(command, env=environment, timeout=60, stderr=subprocess.DEVNULL).returncode


def go_on(source: Path, out: Path, shard: int) -> list[float]:
    """Converts; returns the parts that were done at each report."""
    calls: list[float] = []
    run(
        source,
        out,
        Recipe("q8"),
        max_shard_nbytes=shard,
        progress=lambda done, total, what: calls.append(done / total) if what.startswith("importing") else None,
    )
    return calls


@pytest.mark.parametrize("shard", [20_000, 1 << 30])
@pytest.mark.parametrize("end", [0.1, 0.5, 0.9])
def test_a_killed_conversion_goes_on(tmp_path: Path, end: float, shard: int) -> None:
    write_hf(tmp_path / "m")
    assert kill_half_way(tmp_path / "m", tmp_path / "out", end, shard) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    calls = go_on(tmp_path / "m", tmp_path / "out", shard)
    assert calls[0] > end - 0.25 and calls[-1] == 1
    run(tmp_path / "m", tmp_path / "whole", Recipe("q8"), max_shard_nbytes=shard)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "out", "whole"]


def test_killed_twice_and_interrupted(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    for end, name in ((0.3, "SIGTERM"), (0.6, "SIGINT"), (0.9, "SIGKILL")):
        assert kill_half_way(tmp_path / "m", tmp_path / "out", end, 1 << 30, name) < 0
    assert go_on(tmp_path / "m", tmp_path / "out", 1 << 30)[0] > 0.65
    run(tmp_path / "m", tmp_path / "whole", Recipe("q8"))
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_log_survives_being_read(tmp_path: Path) -> None:
    """A run that is killed before it has written anything leaves what earlier runs wrote."""
    log = ConversionLog(tmp_path, "key")
    (tmp_path / "a.safetensors").write_bytes(b"1234")
    log.add(ShardEntry("a.safetensors", 4, "0" * 64), {})
    for _ in range(2):
        assert ConversionLog(tmp_path, "key").shards == log.shards


@pytest.mark.parametrize("place", [0, 3000, 5000, 40_000])
def test_what_a_kill_left_is_checked_before_it_is_used(tmp_path: Path, place: int) -> None:
    """A power failure may leave a log that is on the disk, and tensors that are not."""
    write_hf(tmp_path / "m")
    kill_half_way(tmp_path / "m", tmp_path / "out", 0.9, 1 << 30)
    (shard,) = tmp_path.glob(".out*/*.safetensors")
    data = bytearray(shard.read_bytes())
    data[place] ^= 1
    shard.write_bytes(data)
    go_on(tmp_path / "m", tmp_path / "out", 1 << 30)
    run(tmp_path / "m", tmp_path / "whole", Recipe("q8"))
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_what_another_conversion_left_is_not_used(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    kill_half_way(tmp_path / "m", tmp_path / "out")
    write_hf(tmp_path / "m", weights=tensors(seed=9))
    run(tmp_path / "m", tmp_path / "out", Recipe("q8"), max_shard_nbytes=20_000)
    run(tmp_path / "m", tmp_path / "whole", Recipe("q8"), max_shard_nbytes=20_000)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 10_000, b'{"key": 1, "shards": 7, "tensors": []}'])
def test_a_damaged_log_means_a_clean_start(tmp_path: Path, damage: bytes) -> None:
    write_hf(tmp_path / "m")
    kill_half_way(tmp_path / "m", tmp_path / "out")
    (work,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    (work / "conversion.json").write_bytes(damage)
    run(tmp_path / "m", tmp_path / "out", Recipe("q8"))
    ModelFolder.open(tmp_path / "out").verify()


def test_two_processes_with_the_same_target(tmp_path: Path) -> None:
    write_hf(tmp_path / "m", weights=tensors() | {})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [
        sys.executable,
        "-c",
        CONVERT_AND_DIE,
        str(tmp_path / "m"),
        str(tmp_path / "out"),
        "2",
        "20000",
        "SIGKILL",
    ]
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    assert "exists already" in "".join(errors)
    ModelFolder.open(tmp_path / "out").verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "out"]
