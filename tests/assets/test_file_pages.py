"""Which file systems are known to read files into huge pages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fastgo.assets.file_pages import has_huge_pages

MOUNTS = """22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
28 27 254:1 / /data rw - xfs /dev/vdb rw
29 27 0:50 / /home rw master:2 - nfs4 server:/home rw
30 garbage
"""


@pytest.mark.parametrize(
    ("release", "device", "expected"),
    [
        ("6.16.0", (254, 0), True),
        ("6.2.0-39-generic", (254, 0), False),
        ("6.2.0-39-generic", (254, 1), True),
        ("5.4.0", (254, 1), False),
        ("6.16.0", (0, 50), False),
        ("6.16.0", (8, 1), False),
        ("unknown", (254, 0), False),
    ],
)
def test_by_kernel_and_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, device: tuple[int, int], expected: bool
) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(os, "uname", lambda: type("Names", (), {"release": release}))
    assert has_huge_pages(os.makedev(*device), tmp_path / "mounts") is expected


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert not has_huge_pages(os.makedev(254, 0), tmp_path / "mounts")
