"""Where the goldens and the measuring scripts of bench/ lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens"
