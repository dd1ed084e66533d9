"""`fastgo bench` on a tiny model: rows, formats, wrong usage, baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastgo.cli.app import app
from typer.testing import CliRunner, Result

RUNNER = CliRunner()


def invoke(*arguments: str) -> Result:
    return RUNNER.invoke(app, ["bench", *arguments])


def rows_of(*arguments: str) -> list[dict[str, Any]]:
    result = invoke(*arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def test_rows_of_prefill_and_decode(tiny_gguf: Path) -> None:
    rows = rows_of("--model", str(tiny_gguf), "-p", "16,600", "-n", "4", "--depth", "0,8", "-r", "3")
    assert [(row["test"], row["depth"]) for row in rows] == [
        (name, depth) for depth in (0, 8) for name in ("pp16", "pp600", "tg4")
    ]
    for row in rows:
        speed = row["tokens_per_s"]
        assert 0 < speed["min"] <= speed["median"] <= speed["max"]
        assert row["memory_bytes"] > tiny_gguf.stat().st_size / 2
        assert {"machine", "commit", "version", "threads", "isa", "switches", "model", "device"} <= row.keys()
        assert row["batch"] == 1 and row["threads"] >= 1
    assert rows[0]["first_token_s"]["median"] > 0
    assert 0 < rows[2]["between_tokens_s"]["p50"] <= rows[2]["between_tokens_s"]["p99"]


def test_rows_of_a_batch(tiny_gguf: Path) -> None:
    (row,) = rows_of("--model", str(tiny_gguf), "-p", "16", "-n", "4", "--depth", "8", "--batch", "3", "-r", "1")
    assert (row["test"], row["batch"], row["depth"]) == ("tg4", 3, 8)
    assert row["tokens_per_s"]["median"] == pytest.approx(12 / (4 * row["between_tokens_s"]["p50"]), rel=0.9)


@pytest.mark.parametrize("sizes_asked", ["-p 16 -n 0", "-p 0 -n 4 --batch 3"])
def test_a_row_names_its_key_value_cache_and_counts_its_memory(tiny_gguf: Path, sizes_asked: str) -> None:
    sizes = {}
    for name in ("f32", "bf16"):
        arguments = ("--model", str(tiny_gguf), *sizes_asked.split(), "-r", "1", "--kv-cache", name)
        (row,) = rows_of(*arguments)
        assert row["kv_cache"] == name
        sizes[name] = row["memory_bytes"]
    assert sizes["bf16"] < sizes["f32"]


def test_stages_as_json(tiny_gguf: Path) -> None:
    (row,) = rows_of("--model", str(tiny_gguf), "--stages")
    assert 0 < row["dependent_stages_per_layer"] <= row["dispatches_per_layer"]
    assert row["layers"] == 7


@pytest.mark.parametrize("name", ["table", "md", "csv"])
def test_other_formats_say_the_same(tiny_gguf: Path, name: str) -> None:
    result = invoke("--model", str(tiny_gguf), "-p", "0", "-n", "4", "-r", "1", "--format", name)
    assert result.exit_code == 0, result.stderr
    assert "tg4" in result.stdout and "pp" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--batch", "65"], "--batch 65 is more than the 64"),
        (["-p", "x"], "-p: expected whole numbers from 0"),
        (["-p", "-1"], "-p: expected"),
        (["--depth", "1,,2"], "--depth: expected"),
        (["--depth", "9" * 5000], "--depth: expected"),
        (["--depth", "2000"], "the model's context holds 2048"),
        (["-p", "0", "-n", "0"], "nothing to measure"),
        (["--baseline", "x.json", "--stages"], "--baseline compares speeds"),
        (["--baseline", "nosuch.json"], "can't read nosuch.json"),
        (["-r", "0"], "Invalid value"),
        (["--kv-cache", "f64"], "no key/value cache in 'f64'"),
    ],
)
def test_wrong_usage_exits_2(tiny_gguf: Path, arguments: list[str], reason: str) -> None:
    result = invoke("--model", str(tiny_gguf), *arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert reason in result.stderr


def test_a_baseline_decides_the_exit_code(tiny_gguf: Path, tmp_path: Path) -> None:
    options = ["--model", str(tiny_gguf), "-p", "0", "-n", "16", "-r", "3"]
    rows = rows_of(*options)
    path = tmp_path / "baseline.json"
    for factor, code in ((1e-3, 0), (1e3, 10)):
        scaled = {name: figure * factor for name, figure in rows[0]["tokens_per_s"].items()}
        path.write_text(
            json.dumps([{**rows[0], "tokens_per_s": scaled | {"min": scaled["median"], "max": scaled["median"]}}])
        )
        result = invoke(*options, "--baseline", str(path))
        assert result.exit_code == code, result.stderr
        assert "tg16" in result.stdout
    assert "1 of 1 tests are slower than the baseline" in result.stderr
