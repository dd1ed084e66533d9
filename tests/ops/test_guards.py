"""The guards that all other tests here rest on."""

from __future__ import annotations

import numpy as np
import pytest
from harness import prepared


@pytest.mark.parametrize("distance", [0, 255])
def test_a_byte_behind_an_output_is_seen(distance: int) -> None:
    x = np.ones((3, 5), np.float32)
    bench = prepared("add", {"a": x, "b": x}, {})
    np.testing.assert_array_equal(bench.run()["y"], 2 * x)
    bench.device.fill(bench._arena.whole, x.nbytes + distance, 1, 0).wait()
    with pytest.raises(AssertionError, match=f"beside the activations, at byte {x.nbytes + distance} "):
        bench.run()


def test_a_byte_behind_an_input_is_seen() -> None:
    x = np.ones((3, 5), np.float32)
    bench = prepared("add", {"a": x, "b": x}, {})
    bench.device.fill(bench._memory[bench.tensors["b"]].buffer, x.nbytes, 1, 0).wait()
    with pytest.raises(AssertionError, match="beyond the end of b"):
        bench.run()
