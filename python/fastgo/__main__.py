"""`python -m fastgo` is the same as `fastgo`."""

from __future__ import annotations

from fastgo.cli import main

if __name__ == "__main__":
    main()
