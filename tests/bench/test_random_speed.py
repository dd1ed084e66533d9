"""The measurements of models with random weights, and the table that tools/gpu_check.py makes of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import random_model
import random_speed
from places import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import gpu_check

TINY = replace(
    random_model.QWEN3_8B,
    vocab_size=512,
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
)


@pytest.mark.parametrize("format", gpu_check.FORMATS)
def test_every_figure_of_a_model_is_in_the_table(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_model, "SHAPES", {"tiny": TINY})
    monkeypatch.setattr(random_speed, "SHAPES", {"tiny": TINY})
    sizes = ["--depth", "8", "--decode", "4", "--batch", "1", "3", "--prefill", "16", "40", "--repeats", "2"]
    assert random_speed.main(["tiny", format, "--folder", str(tmp_path), *sizes, "--kernels"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert [(test["test"], test["batch"]) for test in row["tests"]] == [
        ("tg4", 1),
        ("tg4", 3),
        ("pp16", 1),
        ("pp40", 1),
    ]
    assert all(test["content"] == "random" for test in row["tests"])
    lines = gpu_check.table([row]).splitlines()
    figures = [line for line in lines if line.startswith(f"tiny {format} ") and "@" in line]
    assert [line[20:35].strip() for line in figures] == ["tg4@8", "tg4@8 x3", "pp16@0", "pp40@0"]
    assert sum("%" in line for line in lines) == 1  # one row's decode alone has a part of the bandwidth
    timed = [line for line in lines if line.startswith(f"tiny {format} ") and "@" not in line]
    assert len(timed) == len(row["stages_in_pass"]) > 10
    assert not list(tmp_path.iterdir())
