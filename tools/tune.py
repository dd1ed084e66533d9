"""Measures the cuts of the one-row products on a device and rewrites the table of the best.

    python tools/tune.py --device cuda [--format q4_0]... [--write] [--all]

The shapes are those of bench/random_model.py. Weights are rotated over more memory than caches hold. Prints one
line a shape: microseconds, GB/s, the best cut, and what the rule for unmeasured shapes would have taken.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from fastgo import _fastmetal  # noqa: E402
from fastgo.assets import quant  # noqa: E402
from fastgo.engine.devices import open_device, parallel_width  # noqa: E402
from fastgo.graph.dag import Graph, KernelCall, Node, Storage  # noqa: E402
from fastgo.graph.lower import pack_arguments  # noqa: E402
from fastgo.ops import matmul, matmul_glu, vector_cuts, vector_tuning  # noqa: E402
from fastgo.ops.vector_cuts import Cut  # noqa: E402

_ROTATED_BYTES = 384 << 20
_MOST_CALLS = 48
_REPEATS = 5

# kernel, outputs, columns: Gemma 3 1B, then Qwen 3 8B
SHAPES = (
    ("matmul_vector", 1024, 1152),
    ("matmul_vector", 256, 1152),
    ("matmul_vector", 1152, 1024),
    ("matmul_glu_vector", 6912, 1152),
    ("matmul_vector", 1152, 6912),
    ("matmul_vector", 262144, 1152),
    ("matmul_vector", 4096, 4096),
    ("matmul_vector", 1024, 4096),
    ("matmul_glu_vector", 12288, 4096),
    ("matmul_vector", 4096, 12288),
    ("matmul_vector", 151936, 4096),
)


class Bench:
    """Times single calls on random weights of one device."""

    def __init__(self, device: _fastmetal.Device) -> None:
        self.device = device
        self.width = max(parallel_width(device.info), 2)
        pattern = np.random.default_rng(0).integers(0, 256, 32 << 20, np.uint8)
        pattern[1::2] = pattern[1::2] & 0x3B  # as float16 or bfloat16 no infinity
        staging = device.buffer(pattern.size, "pattern")
        np.frombuffer(memoryview(staging), np.uint8)[: pattern.size] = pattern
        self.nbytes = _ROTATED_BYTES + (1 << 30) + (1 << 28)
        self.weights = device.buffer(self.nbytes, "weights", False)
        for begin in range(0, self.nbytes, pattern.size):
            device.copy(staging, 0, self.weights, begin, min(pattern.size, self.nbytes - begin)).wait()
        self.vectors = device.buffer(4 << 20, "vectors", False)

    def seconds(self, kernel: str, format: str, outputs: int, columns: int, cut: Cut) -> float:
        """Of one call, the fixed cost of a stage included."""
        key = (self.width, kernel, quant.get_format(format).kernel, outputs, columns)
        vector_cuts.MEASURED[key] = cut
        try:
            call = self._call(kernel, format, outputs, columns)
        finally:
            del vector_cuts.MEASURED[key]
        matrices = 2 if kernel == "matmul_glu_vector" else 1
        nbytes = quant.align_up(quant.total_nbytes(format, outputs, columns))
        calls = max(1, min(_MOST_CALLS, _ROTATED_BYTES // (nbytes * matrices)))
        program = self.device.program("tune", True)
        pipeline = self.device.pipeline(call.kernel, dict(call.constants))
        packed = pack_arguments(call.kernel, call.arguments)
        for i in range(calls):
            first = i * matrices * nbytes
            weights = [(self.weights, first + m * nbytes) for m in range(matrices)]
            bindings = [None, *weights, (self.vectors, 0), (self.vectors, 1 << 20)]
            program.dispatch(pipeline, bindings, packed, call.grid, call.threads)
            program.barrier()
        program.finish()
        samples = []
        for _ in range(1 + _REPEATS):
            submission = self.device.submit([program])
            submission.wait()
            samples.append(submission.device_seconds / calls)
        return statistics.median(samples[1:])

    def _call(self, kernel: str, format: str, outputs: int, columns: int) -> KernelCall:
        graph = Graph(self.width)
        x = graph.tensor("x", (1, columns), "f32", Storage.STATE)
        weights = [graph.tensor(name, (outputs, columns), format, Storage.WEIGHT) for name in ("gate", "up")]
        y = graph.output("y", (1, outputs))
        if kernel == "matmul_vector":
            node = Node(matmul.MATMUL, {"weight": weights[0], "x": x}, {"y": y}, {})
        else:
            inputs = {"gate": weights[0], "up": weights[1], "x": x}
            node = Node(matmul_glu.MATMUL_GLU, inputs, {"y": y}, {"activation": "silu"})
        return node.op.lower(node)[0]


def cuts(kernel: str, format: str, columns: int) -> Iterator[Cut]:
    """All that are tried."""
    if format in vector_tuning.TILE_FORMATS:
        for depth in vector_tuning.TILE_DEPTHS[kernel]:
            for parts, simdgroups in ((1, 4), (1, 8), (2, 4), (2, 8), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)):
                if parts * 32 <= columns:
                    yield Cut(vector_tuning.TILE_OUTPUTS, parts, simdgroups, depth)
    for outputs in (1, 2) if kernel == "matmul_glu_vector" else (1, 2, 4):
        for parts in (1, 2, 4, 8):
            for simdgroups in sorted({parts, 4, 8}):
                if simdgroups % parts == 0:
                    yield Cut(outputs, parts, simdgroups)


def write_table(found: dict[tuple[int, str, str, int, int], Cut]) -> None:
    """Puts the cuts into the table, beside those of other devices."""
    path = Path(vector_cuts.__file__)
    head = path.read_text(encoding="utf-8").partition("MEASURED: ")[0]
    table = {**vector_cuts.MEASURED, **found}
    lines = "".join(f"    {key!r}: {value!r},\n".replace("'", '"') for key, value in sorted(table.items()))
    annotation = "MEASURED: dict[tuple[int, str, str, int, int], Cut] = {"
    path.write_text(f"{head}{annotation}\n{lines}}}\n", encoding="utf-8")


def main(argv: list[str]) -> int:
    """Measures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tune", description="Measure the cuts of one-row products.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--format", action="append", help="weight formats, by default q4_0, int4_g32 and bf16")
    parser.add_argument("--write", action="store_true", help="rewrite the table")
    parser.add_argument("--all", action="store_true", help="print every cut")
    options = parser.parse_args(argv)
    bench, found = Bench(open_device(options.device)), {}
    for format in options.format or ("q4_0", "int4_g32", "bf16"):
        for kernel, outputs, columns in SHAPES:
            name = quant.get_format(format).kernel
            times = {cut: bench.seconds(kernel, format, outputs, columns, cut) for cut in cuts(kernel, name, columns)}
            best = min(times, key=times.__getitem__)
            rule = vector_tuning.cut(kernel, name, outputs, columns, bench.width)
            matrices = 2 if kernel == "matmul_glu_vector" else 1
            rate = quant.total_nbytes(format, outputs, columns) * matrices / times[best] / 1e9
            print(
                f"{kernel:18} {format:8} {outputs:6} x {columns:5} {times[best] * 1e6:8.2f} us {rate:6.0f} GB/s "
                f"{tuple(best)}; rule {tuple(rule)} {times.get(rule, float('nan')) * 1e6:8.2f} us",
                flush=True,
            )
            if options.all:
                print("  ", *(f"{tuple(c)}:{s * 1e6:.1f}" for c, s in sorted(times.items(), key=lambda i: i[1])))
            found[bench.width, kernel, name, outputs, columns] = best
    if options.write:
        write_table(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
