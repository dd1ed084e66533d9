"""`fastgo pull` against a local server of the hub's API, each command a process of its own with caches of its own.

The hub's library reads its switches when it is imported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastgo.assets import hub_catalog
from fastgo.assets.hub_catalog import HubModel
from fastgo.errors import UsageError
from gguf_builder import write_model
from hf_builder import write_hf
from hub_server import COMMIT, TOKEN, Hub, serve

pytest.importorskip("huggingface_hub")
WEIGHTS = "model-00002-of-00002.safetensors"
Fastgo = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A repository with a Hugging Face model in two shards, files of other programs, and a GGUF model."""
    folder = tmp_path / "repository"
    write_hf(folder, "qwen3", shards=2, files={"README.md": "---\nlicense: apache-2.0\n---\n"})
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not for us")
    write_model(folder / "tiny-q8.gguf")
    with serve(Hub("Qwen/Qwen3-0.6B", folder)) as running:
        yield running


@pytest.fixture
def fastgo(tmp_path: Path, hub: Hub) -> Fastgo:
    """Runs a command; further environment as keywords."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        own = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "FASTGO_CACHE_DIR": str(tmp_path / "cache"),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": hub.url,
        }
        command = [sys.executable, *(arguments if arguments[0] == "-c" else ("-m", "fastgo", *arguments))]
        return subprocess.run(command, env=inherited | own | environment, capture_output=True, text=True, timeout=120)

    return run


def changed_python(folder: Path, code: str) -> str:
    """A PYTHONPATH under which a command runs `code` first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return os.pathsep.join([str(folder), *sys.path])


def failed(result: subprocess.CompletedProcess[str], exit_code: int, *words: str) -> bool:
    """Whether a command ended with that code, one error of one line and one hint, which have the words."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.returncode == exit_code and not result.stdout, (result.returncode, result.stdout, result.stderr)
    assert len(lines) == 2 and lines[0].startswith("fastgo: error: ") and lines[1].startswith("hint: "), result.stderr
    assert all(word in result.stderr for word in words), result.stderr
    return True


def test_pull_by_a_short_name_imports_and_is_found(hub: Hub, fastgo: Fastgo, tmp_path: Path) -> None:
    assert failed(fastgo("verify", "qwen3:0.6b"), 3, "fastgo pull qwen3:0.6b")
    result = fastgo("pull", "qwen3:0.6b")
    assert result.returncode == 0 and result.stdout.startswith("qwen3:0.6b: Qwen3-0.6B, "), result.stderr
    downloads = [line for line in hub.log if line.startswith("GET") and "/resolve/" in line]
    assert len(downloads) == 5 and not any(word in line for line in downloads for word in (".bin", "original", "gguf"))

    for name in ("qwen3:0.6b", "hf:Qwen/Qwen3-0.6B", f"hf:Qwen/Qwen3-0.6B@{COMMIT}", "Qwen3-0.6B"):
        assert "24 tensors" in fastgo("verify", name).stdout
    (manifest,) = (tmp_path / "cache" / "models").glob("*/manifest.json")
    facts = json.loads(manifest.read_text())
    assert facts["provenance"]["origin"] == f"hf:Qwen/Qwen3-0.6B@{COMMIT}" and facts["licence"] == "apache-2.0"

    hub.log.clear()
    assert fastgo("pull", "Qwen3:0.6B").returncode == 0
    assert not [line for line in hub.log if line.startswith("GET") and "/resolve/" in line]


def test_pull_of_a_gguf_file(hub: Hub, fastgo: Fastgo) -> None:
    name = "hf:Qwen/Qwen3-0.6B:tiny-*.gguf"
    assert fastgo("pull", name).stdout.startswith(f"{name}: tiny-q8, ")
    assert [line for line in hub.log if line.startswith("GET") and "/resolve/" in line] == [
        f"GET /Qwen/Qwen3-0.6B/resolve/{COMMIT}/tiny-q8.gguf"
    ]
    assert "are sound" in fastgo("verify", name).stdout
    assert failed(fastgo("verify", "qwen3:0.6b"), 3, "fastgo pull qwen3:0.6b")


def test_a_cut_connection_is_resumed(hub: Hub, fastgo: Fastgo, tmp_path: Path) -> None:
    hub.cut = WEIGHTS
    # The library keeps whole chunks, of 10 MB if left alone.
    small = changed_python(
        tmp_path / "small", "from huggingface_hub import constants as c\nc.DOWNLOAD_CHUNK_SIZE = 1024\n"
    )
    assert fastgo("pull", "qwen3:0.6b", PYTHONPATH=small).returncode == 0
    asked = [line for line in hub.log if line.startswith("GET") and WEIGHTS in line]
    half = (hub.folder / WEIGHTS).stat().st_size // 2
    assert len(asked) == 2 and asked[1].endswith(f"bytes={half - half % 1024}-")
    assert "are sound" in fastgo("verify", "qwen3:0.6b").stdout


def test_progress_counts_all_bytes(hub: Hub, fastgo: Fastgo) -> None:
    code = "from fastgo.assets.pull import pull\npull('qwen3:0.6b', lambda *report: print(*report, sep=':'))"
    reports = [line.split(":") for line in fastgo("-c", code).stdout.splitlines()]
    downloads = [(int(done), int(total)) for done, total, what in reports if what == "downloading Qwen3-0.6B"]
    wanted = [name for name in hub.names() if name.endswith((".safetensors", ".json", ".md")) and "/" not in name]
    nbytes = sum((hub.folder / name).stat().st_size for name in wanted)
    assert max(downloads) == (nbytes, nbytes) and all(0 < done <= total for done, total in downloads)
    assert {what.split()[0] for _, _, what in reports} == {"downloading", "reading", "importing"}


def test_two_pulls_at_once_import_once(hub: Hub, fastgo: Fastgo, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: fastgo("pull", "qwen3:0.6b"), range(2)))
    assert [result.returncode for result in results] == [0, 0], [result.stderr for result in results]
    assert results[0].stdout == results[1].stdout
    assert len([line for line in hub.log if line.startswith("GET") and WEIGHTS in line]) == 1
    assert len(list((tmp_path / "cache" / "models").iterdir())) == 1
    removed = fastgo("rm", "qwen3:0.6b")
    assert removed.returncode == 0 and not list((tmp_path / "cache" / "models").iterdir())


def test_a_commit_must_have_what_it_had_when_it_was_first_pulled(hub: Hub, fastgo: Fastgo, tmp_path: Path) -> None:
    assert fastgo("pull", "qwen3:0.6b").returncode == 0
    for prune in (["rm", "qwen3:0.6b"], ["cache", "--prune"]):
        assert fastgo(*prune).returncode == 0
    shutil.rmtree(tmp_path / "hf")
    weights = hub.folder / WEIGHTS
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert failed(fastgo("pull", "qwen3:0.6b"), 4, f"@{COMMIT}", "first pulled")
    assert not list((tmp_path / "cache" / "models").iterdir())
    shutil.rmtree(tmp_path / "hf")
    weights.write_bytes(sound)
    assert fastgo("pull", "qwen3:0.6b").returncode == 0


def test_offline(hub: Hub, fastgo: Fastgo, tmp_path: Path) -> None:
    assert failed(fastgo("pull", "qwen3:0.6b", HF_HUB_OFFLINE="1"), 9, "HF_HUB_OFFLINE")
    assert fastgo("pull", "qwen3:0.6b").returncode == 0
    hub.log.clear()
    other = str(tmp_path / "other-cache")
    result = fastgo("pull", "qwen3:0.6b", HF_HUB_OFFLINE="1", FASTGO_CACHE_DIR=other)
    assert result.returncode == 0, result.stderr
    assert "are sound" in fastgo("verify", "qwen3:0.6b", FASTGO_CACHE_DIR=other).stdout
    assert hub.log == []


def test_repair_fetches_the_model_again(hub: Hub, fastgo: Fastgo, tmp_path: Path) -> None:
    assert fastgo("pull", "qwen3:0.6b").returncode == 0
    (weights,) = (tmp_path / "cache" / "models").glob("*/weights-*")
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert failed(fastgo("verify", "qwen3:0.6b"), 4, "--repair")
    shutil.rmtree(tmp_path / "hf")
    assert failed(fastgo("verify", "qwen3:0.6b", "--repair", HF_HUB_OFFLINE="1"), 9, "HF_HUB_OFFLINE")
    assert "24 tensors" in fastgo("verify", "qwen3:0.6b", "--repair").stdout
    assert weights.read_bytes() == sound


def test_gated_models_need_a_token(hub: Hub, fastgo: Fastgo) -> None:
    hub.gated = True
    words = ("https://huggingface.co/Qwen/Qwen3-0.6B", "HF_TOKEN", "licence")
    assert failed(fastgo("pull", "qwen3:0.6b"), 9, *words)
    assert failed(fastgo("pull", "qwen3:0.6b", HF_TOKEN="hf_wrong"), 9, *words)
    assert fastgo("pull", "qwen3:0.6b", HF_TOKEN=TOKEN).returncode == 0


def test_what_is_not_there(hub: Hub, fastgo: Fastgo) -> None:
    assert failed(fastgo("pull", "qwen3:1b"), 3, "no model 'qwen3:1b'", "qwen3:0.6b")
    assert failed(fastgo("pull", "hf:no/such"), 3, "no repository no/such")
    assert failed(fastgo("pull", "hf:Qwen/Qwen3-0.6B@v2"), 3, "no revision v2")
    assert failed(fastgo("pull", "hf:Qwen/Qwen3-0.6B:absent.gguf"), 3, "no file absent.gguf")


def test_a_repository_of_gguf_files_names_them(hub: Hub, fastgo: Fastgo) -> None:
    (hub.folder / "config.json").unlink()
    assert failed(fastgo("pull", "qwen3:0.6b"), 3, "hf:Qwen/Qwen3-0.6B:tiny-q8.gguf")


def test_damaged_on_its_way(hub: Hub, fastgo: Fastgo) -> None:
    hub.damaged = WEIGHTS
    assert failed(fastgo("pull", "qwen3:0.6b"), 4, WEIGHTS, "differs from its SHA-256", "pull the model again")
    hub.damaged = ""
    assert fastgo("pull", "qwen3:0.6b").returncode == 0


def test_no_network_and_a_hub_with_faults(hub: Hub, fastgo: Fastgo) -> None:
    hub.status = 418
    assert failed(fastgo("pull", "qwen3:0.6b"), 9, "418")
    assert failed(fastgo("pull", "qwen3:0.6b", HF_ENDPOINT="http://127.0.0.1:9"), 9, "can't reach http://127.0.0.1:9")


def test_full_disk_and_no_library(hub: Hub, fastgo: Fastgo, tmp_path: Path) -> None:
    full = changed_python(
        tmp_path / "full",
        "import errno, huggingface_hub\n"
        "def full(*arguments, **options):\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "huggingface_hub.snapshot_download = full\n",
    )
    assert failed(fastgo("pull", "qwen3:0.6b", PYTHONPATH=full), 8, "no space left on device", "HF_HOME")
    without = changed_python(tmp_path / "without", "import sys\nsys.modules['huggingface_hub'] = None\n")
    assert failed(fastgo("pull", "qwen3:0.6b", PYTHONPATH=without), 9, 'pip install "fastgo[hub]"')


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("hf:a/b", HubModel("a/b")),
        ("hf:a/b:c.gguf", HubModel("a/b", "c.gguf")),
        ("hf:a/b@v1.0:d/c-*.gguf", HubModel("a/b", "d/c-*.gguf", "v1.0")),
    ],
)
def test_names_are_read_and_written(name: str, model: HubModel) -> None:
    assert hub_catalog.parse(name) == model and str(model) == name


@pytest.mark.parametrize(
    "name", ["hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/b:../c", "hf:a/b:/etc", "hf:a/b@", "hf:a/b\n"]
)
def test_malformed_names(name: str) -> None:
    with pytest.raises(UsageError, match="expected hf:owner/repo"):
        hub_catalog.find(name)


def test_the_table_has_each_name_once_and_sound_references() -> None:
    assert len(hub_catalog.BY_NAME) > 35
    for name, model in hub_catalog.BY_NAME.items():
        assert name == name.lower() and hub_catalog.parse(str(model)) == model
