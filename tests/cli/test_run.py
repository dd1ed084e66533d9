"""`fastgo run` inside this process, over a fake model: prompts, options, output, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastgo
import pytest
from fake_model import FakeModel, loader
from fastgo.cli.app import app
from typer.testing import CliRunner, Result

RUNNER = CliRunner()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    model = FakeModel()
    monkeypatch.setattr(fastgo, "load", loader(model), raising=False)
    return model


def invoke(*arguments: str, input: str | bytes | None = None) -> Result:
    return RUNNER.invoke(app, list(arguments), input=input)


def test_an_answer_goes_to_stdout_and_its_telemetry_to_stderr(model: FakeModel) -> None:
    result = invoke("run", "--model", "fake", "hello")
    assert (result.exit_code, result.stdout) == (0, "echo: hello\n")
    assert result.stderr == (
        "prompt 7 tokens, prefill 350.0 tok/s, first token 25 ms, 5 tokens, decode 40.0 tok/s, memory 412.0 MB, "
        "pipelines 12 cached, 3 built\n"
    )
    assert model.closed


def test_options_reach_the_model(model: FakeModel) -> None:
    options = ["-n", "9", "--temperature", "0.5", "--seed", "3", "--system", "Be brief.", "--raw", "--context", "64"]
    options += ["--top-k", "40", "--top-p", "0.9", "--min-p", "0.05", "--repeat-penalty", "1.1"]
    options += ["--presence-penalty", "-0.5", "--frequency-penalty", "0.25", "--logit-bias", "7=-inf"]
    options += ["--logit-bias", "12=1.5", "--kv-cache", "bf16"]
    assert invoke("run", "-m", "fake", "hi", *options, "--device", "cpu").exit_code == 0
    generation: dict[str, Any] = {"max_tokens": 9, "temperature": 0.5, "seed": 3, "system": "Be brief.", "raw": True}
    generation |= {"top_k": 40, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1, "presence_penalty": -0.5}
    generation |= {"frequency_penalty": 0.25, "logit_bias": {7: float("-inf"), 12: 1.5}}
    assert model.calls == [
        ("load", "fake", {"device": "cpu", "context": 64, "kv_cache": "bf16"}),
        ("generate", "hi", generation),
    ]


def test_defaults(model: FakeModel) -> None:
    invoke("run", "-m", "fake", "hi")
    assert model.calls[1] == ("generate", "hi", {"max_tokens": None, "system": None, "raw": False})


def test_logprobs_are_lines_of_json_instead_of_text(model: FakeModel) -> None:
    result = invoke("run", "-m", "fake", "hi", "--logprobs", "1")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines == [
        {**token, "top_logprobs": [{"token": "<9>", "id": 9, "bytes": [9], "logprob": -0.25}]}
        for token in (
            {"token": "<3>", "id": 3, "bytes": [3], "logprob": -0.5},
            {"token": "<1>", "id": 1, "bytes": [1], "logprob": -0.5},
        )
    ]
    assert model.calls[1][2]["logprobs"] == 1


def test_the_prompt_may_come_from_a_file_or_standard_input(model: FakeModel, tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes("grüß\xff".encode("latin-1") + "é".encode())
    assert invoke("run", "-m", "fake", "--file", str(path)).stdout == "echo: gr\ufffd\ufffd\ufffdé\n"
    assert invoke("run", "-m", "fake", input="naïve\n").stdout == "echo: naïve\n"
    assert invoke("run", "-m", "fake", "argument", input="ignored").stdout == "echo: argument\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "hi"],
        ["run", "-m", "fake", "hi", "-n", "0"],
        ["run", "-m", "fake", "hi", "--temperature", "-1"],
        ["run", "-m", "fake", "hi", "--temperature", "nan"],
        ["run", "-m", "fake", "hi", "--seed", "x"],
        ["run", "-m", "fake", "hi", "--top-k", "-1"],
        ["run", "-m", "fake", "hi", "--top-p", "1.1"],
        ["run", "-m", "fake", "hi", "--min-p", "nan"],
        ["run", "-m", "fake", "hi", "--repeat-penalty", "0"],
        ["run", "-m", "fake", "hi", "--presence-penalty", "inf"],
        ["run", "-m", "fake", "hi", "--frequency-penalty", "1e9"],
        ["run", "-m", "fake", "hi", "--logit-bias", "7"],
        ["run", "-m", "fake", "hi", "--logit-bias", "x=1"],
        ["run", "-m", "fake", "hi", "--logit-bias", "-7=1"],
        ["run", "-m", "fake", "hi", "--logit-bias", "7=nan"],
        ["run", "-m", "fake", "hi", "--logprobs", "21"],
        ["run", "-m", "fake", "hi", "--nosuch"],
        ["run", "-m", "fake", "hi", "--file", "also.txt"],
        ["run", "-m", "fake", "--file", "no/such/file"],
        ["run", "-m", "fake"],
        ["nosuch"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_says_why(model: FakeModel, arguments: list[str]) -> None:
    result = invoke(*arguments, input="")
    assert result.exit_code == 2
    assert not result.stdout and result.stderr.strip()
    assert model.calls == []


def test_a_known_failure_is_two_lines_and_its_exit_code(model: FakeModel) -> None:
    result = invoke("run", "-m", "nosuch", "hi")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "fastgo: error: no such model: 'nosuch'\nhint: give the fake one\n"


def test_control_sequences_in_messages_are_taken_out(model: FakeModel) -> None:
    result = invoke("run", "-m", "fake", "refuse")
    assert result.exit_code == 3
    assert "\x1b" not in result.stderr and "no such thing\ufffd[31m" in result.stderr


def test_an_unexpected_failure_is_one_line_unless_asked(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke("run", "-m", "fake", "fault")
    assert result.exit_code == 70
    assert result.stderr.splitlines()[0] == "fastgo: error: RuntimeError: a fault of two lines"
    assert result.stderr.splitlines()[1].startswith("hint: this is a fault of fastgo")
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("FASTGO_TRACEBACK", "1")
    assert "Traceback" in invoke("run", "-m", "fake", "fault").stderr


def test_long_messages_are_not_wrapped(model: FakeModel) -> None:
    name = "x" * 300
    assert invoke("run", "-m", name, "hi").stderr.splitlines()[0] == f"fastgo: error: no such model: '{name}'"


@pytest.mark.parametrize(("flag", "thinking"), [("--think", True), ("--no-think", False)])
def test_thinking_reaches_the_model_where_it_is_asked_for(model: FakeModel, flag: str, thinking: bool) -> None:
    assert invoke("run", "-m", "fake", "hi", flag).exit_code == 0
    assert model.calls[-1][2]["thinking"] is thinking
