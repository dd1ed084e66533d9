"""`fastgo list`, `inspect` and `env`, the tables of switches and exit codes, and how fast the command line starts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import fastgo
import pytest
from fastgo import errors, switches
from fastgo.assets import repository
from fastgo.cli.app import app
from typer.testing import CliRunner, Result

RUNNER = CliRunner()
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def invoke(*arguments: str) -> Result:
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_version() -> None:
    assert invoke("--version").stdout == f"fastgo {fastgo.__version__}\n"


def test_help_and_readme_name_every_command() -> None:
    result = invoke("--help")
    names = [command.name for command in app.registered_commands]
    assert result.exit_code == 0 and len(names) > 10
    assert [name for name in names if f" {name} " not in result.stdout or f"    fastgo {name} " not in README] == []


def test_help_describes_arguments_and_options() -> None:
    text = invoke("run", "--help").stdout
    assert "What to answer" in text and "Longest answer" in text


def test_readme_lists_every_exit_code() -> None:
    known = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and error.__base__ is errors.FastgoError
    }
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)]
    assert listed == sorted({0, errors.UNEXPECTED_EXIT_CODE, errors.INTERRUPTED_EXIT_CODE} | known)


@pytest.mark.parametrize("kind", [errors.UsageError, errors.InvalidFileError, errors.UnsupportedModelError])
def test_an_error_without_a_hint_of_its_own_has_its_kinds(kind: type[errors.FastgoError]) -> None:
    assert kind("it failed").hint == kind.usual_hint != ""
    assert kind("it failed", hint="do this").hint == "do this"


def test_an_empty_cache_lists_nothing_but_the_names_to_run(cache: Path) -> None:
    result = invoke("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "gemma3" in result.stderr and "smollm2" in result.stderr
    facts = json.loads(invoke("list", "--format", "json").stdout)
    assert facts["models"] == [] and "gemma3" in facts["catalogue"]


def test_inspect_and_list_a_real_model(cache: Path, smollm2_gguf: Path) -> None:
    facts = json.loads(invoke("inspect", str(smollm2_gguf), "--format", "json").stdout)
    folder = repository.open_model(smollm2_gguf)
    assert facts["config"]["hidden_size"] == 576 and facts["config"]["num_hidden_layers"] == 30
    assert sum(row["tensors"] for row in facts["formats"].values()) == len(folder.tensors)
    assert facts["formats"]["q4_1"]["parameters"] == 30 * (576 * 576 * 2 + 576 * 192 * 2 + 3 * 576 * 1536)
    assert facts["tokenizer"]["kind"] == "tokenizers"
    assert "<|im_start|>" in facts["chat_template"]
    sizes = {path.name: path.stat().st_size for path in folder.path.iterdir()}
    assert {file["name"]: file["bytes"] for file in facts["files"]} == sizes

    table = invoke("inspect", str(smollm2_gguf)).stdout
    assert re.search(r"^architecture +llama$", table, re.MULTILINE)
    assert re.search(r"^q4_1 +210 +106168320 ", table, re.MULTILINE)
    assert re.search(rf"^{re.escape(folder.name)} +llama +", invoke("list").stdout, re.MULTILINE)


def test_inspect_of_nothing_is_an_error(cache: Path, tmp_path: Path) -> None:
    assert invoke("inspect", "nosuch").exit_code == 3
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    result = invoke("inspect", str(tmp_path / "bad.gguf"))
    assert result.exit_code in (4, 5)
    assert len(result.stderr.splitlines()) == 2 and result.stdout == ""


def test_env_shows_the_cache_and_the_switches(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in switches.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(cache))
    monkeypatch.setenv("FASTGO_THREADS", "3")
    monkeypatch.setenv("FASTGO_THREDAS", "3")
    cache.mkdir()
    (cache / "file").write_bytes(b"x" * 2500)
    facts = json.loads(invoke("env", "--format", "json").stdout)
    assert facts["version"] == fastgo.__version__
    assert facts["cache"] == {"path": str(cache), "bytes": 2500}
    assert facts["switches"] == {"FASTGO_CACHE_DIR": str(cache), "FASTGO_THREADS": "3"}
    assert "FASTGO_THREDAS" in facts["unknown_switches"]
    assert bool(facts["devices"]) != bool(facts["device_error"])
    table = invoke("env").stdout
    assert "(2.5 kB)" in table and re.search(r"^FASTGO_THREDAS +unknown switch", table, re.MULTILINE)


def test_switches_are_read_by_known_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGO_DEVICE", "")
    assert switches.value("FASTGO_DEVICE") is None
    monkeypatch.setenv("FASTGO_DEVICE", "cpu")
    assert switches.value("FASTGO_DEVICE") == "cpu"
    with pytest.raises(KeyError):
        switches.value("FASTGO_NOSUCH")


def test_every_switch_is_in_the_table() -> None:
    """Natively one file reads the environment, in Python another."""
    texts = {
        path: path.read_text("utf-8") for path in (ROOT / "csrc").rglob("*") if path.suffix in (".cpp", ".h", ".hpp")
    }
    assert [path.name for path, text in texts.items() if "getenv(" in text] == ["environment.cpp"]
    read = re.findall(r'value_of\("((?:FASTGO|MTL)_\w+)"\)', texts[ROOT / "csrc/softmetal/environment.cpp"])
    assert len(read) > 5 and set(read) <= switches.SWITCHES.keys()
    modules = (ROOT / "python" / "fastgo").rglob("*.py")
    assert [path.name for path in modules if "os.environ" in path.read_text("utf-8")] == ["switches.py"]


def test_starting_imports_nothing_heavy() -> None:
    code = "import sys, fastgo.cli.app; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in modules
    heavy = {"numpy", "jinja2", "tokenizers", "sentencepiece", "rich.progress", "fastgo.api", "fastgo._fastmetal"}
    assert not heavy.intersection(modules)
