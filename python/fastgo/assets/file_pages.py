"""Where files are read into huge pages, weights just written are dropped from the page cache, to be read anew so.

Writing leaves a file there in small pages, with which decode is up to a quarter slower. Elsewhere they stay: the first
use needs them at once. Units: bytes.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from stat import S_ISREG

_LEAST_NBYTES = 4 << 20
# The Linux from which on a file system reads files into pages of many sizes.
_FIRST_LINUX = {"xfs": (5, 18), "ext4": (6, 16)}


def forget_small_pages(descriptor: int) -> None:
    """Drop a flushed file from the page cache if it is large, and would come back in huge pages. Raises OSError."""
    status = os.fstat(descriptor)
    if S_ISREG(status.st_mode) and status.st_size >= _LEAST_NBYTES and has_huge_pages(status.st_dev):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@cache
def has_huge_pages(device: int, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether files of a file system, by the `st_dev` of one, are read in huge pages. False where nothing tells."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return False
    kinds = [line[line.index("-") + 1] for line in lines if "-" in line and line[2] == number]
    if release is None or not kinds or kinds[0] not in _FIRST_LINUX:
        return False
    return (int(release[1]), int(release[2])) >= _FIRST_LINUX[kinds[0]]
