"""Measures the cuts of the one-row products on a device and rewrites the table of the best.

    python tools/tune.py --device cuda [--format q4_0]... [--shape 12288x4096]... [--jobs 16] [--write] [--all]

The shapes are those of bench/random_model.py, each in the kernel that a model's pass runs. Weights are rotated over
more memory than caches hold. Prints one line a shape: microseconds, GB/s, the best cut, and what the table or, where it
has none, the rule would have taken.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import random_model
from fastgo import _fastmetal
from fastgo.assets import quant
from fastgo.engine.devices import open_device, parallel_width
from fastgo.engine.pass_graph import add_forward_pass
from fastgo.graph.dag import Graph, KernelCall, Node, Storage, Tensor
from fastgo.graph.lower import pack_arguments
from fastgo.graph.passes import run_passes
from fastgo.ops import combine_matmul, matmul, norm_matmul_glu, norm_matmul_group, vector_cuts, vector_tuning
from fastgo.ops.vector_cuts import Cut

_ROTATED_BYTES = 384 << 20
_MOST_CALLS = 48
_REPEATS = 5
_SLOT = 1 << 20  # of an activation
_HEAD_DIM, _SPLITS = 128, 4  # of the attention that combine_matmul puts together
_CONTEXT = 512  # of the passes whose products are taken


@dataclass(frozen=True)
class Product:
    """A kernel over weights of these outputs each, all with `columns`."""

    kernel: str
    outputs: tuple[int, ...]
    columns: int

    @property
    def total(self) -> int:
        """The outputs by which the table knows it."""
        return self.outputs[0] if self.kernel == "norm_matmul_glu" else sum(self.outputs)

    def call(self, format: str, width: int) -> KernelCall:
        """Its dispatch as a model's pass has it."""
        graph = Graph(width)

        def row(name: str, columns: int) -> Tensor:
            return graph.tensor(name, (1, columns), "f32", Storage.STATE)

        def weights(*names: str) -> dict[str, Tensor]:
            shapes = zip(names, self.outputs, strict=True)
            return {name: graph.tensor(name, (n, self.columns), format, Storage.WEIGHT) for name, n in shapes}

        y = {"y": row("y", self.outputs[0])}
        norm = {name: row(name, self.columns) for name in ("x", "branch", "weight")}
        stream = {"stream": row("stream", self.columns)}
        if self.kernel == "matmul_vector":
            node = Node(matmul.MATMUL, {**weights("weight"), "x": norm["x"]}, y, {"activation": "none"})
        elif self.kernel == "combine_matmul":
            heads = self.columns // _HEAD_DIM
            parts = {"partial": graph.tensor("partial", (1, heads, _SPLITS, _HEAD_DIM), "f32", Storage.STATE)}
            parts |= {n: graph.tensor(n, (1, heads, _SPLITS), "f32", Storage.STATE) for n in ("bests", "totals")}
            node = Node(combine_matmul.COMBINE_MATMUL, {**weights("weight"), **parts}, y, {})
        elif self.kernel == "norm_matmul_glu":
            attributes = {"eps": 1e-6, "activation": "silu"}
            inputs = {**norm, **weights("gate", "up")}
            node = Node(norm_matmul_glu.NORM_MATMUL_GLU, inputs, {**stream, **y}, attributes)
        else:
            names = ("first", "second", "third")
            outputs = {f"y_{name}": row(name, n) for name, n in zip(names, self.outputs, strict=True)}
            inputs = {**norm, **weights(*names)}
            node = Node(norm_matmul_group.NORM_MATMUL_GROUP, inputs, {**stream, **outputs}, {"eps": 1e-6})
        return node.op.lower(node)[0]


_KERNELS = {
    matmul.MATMUL: "matmul_vector",
    combine_matmul.COMBINE_MATMUL: "combine_matmul",
    norm_matmul_glu.NORM_MATMUL_GLU: "norm_matmul_glu",
    norm_matmul_group.NORM_MATMUL_GROUP: "norm_matmul_group",
}


def products(format: str, width: int) -> list[Product]:
    """What one row of each model of random_model.SHAPES is multiplied with on a device of that width."""
    found: dict[Product, None] = {}
    for config in random_model.SHAPES.values():
        facts = random_model.weight_facts(config, format)
        graph = Graph(width)
        cache_shape = (1, config.num_key_value_heads, _CONTEXT, config.head_dim)
        graph.results.append(add_forward_pass(graph, config, facts.__getitem__, cache_shape, "f16", 1, range(1)))
        run_passes(graph)
        for node in graph.nodes:
            weights = [tensor.shape for tensor in node.inputs.values() if tensor.dtype == format]
            if node.op in _KERNELS and weights:
                outputs, columns = zip(*weights, strict=True)
                found[Product(_KERNELS[node.op], outputs, columns[0])] = None
    return list(found)


@contextmanager
def measured(width: int, product: Product, format: str, cut: Cut) -> Iterator[None]:
    """Makes the operations take this cut."""
    key = (width, product.kernel, quant.get_format(format).kernel, product.total, product.columns)
    before = vector_cuts.MEASURED.get(key)
    vector_cuts.MEASURED[key] = cut
    try:
        yield
    finally:
        del vector_cuts.MEASURED[key]
        if before is not None:
            vector_cuts.MEASURED[key] = before


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
        self.vectors = device.buffer(16 * _SLOT, "vectors", False)

    def seconds(self, product: Product, format: str, cut: Cut) -> float:
        """Of one call, the fixed cost of a stage included."""
        with measured(self.width, product, format, cut):
            call = product.call(format, self.width)
        sizes = {
            outputs: quant.align_up(quant.total_nbytes(format, outputs, product.columns)) for outputs in product.outputs
        }
        nbytes = sum(sizes[outputs] for outputs in product.outputs)
        calls = max(1, min(_MOST_CALLS, _ROTATED_BYTES // nbytes))
        program = self.device.program("tune", True)
        pipeline = self.device.pipeline(call.kernel, dict(call.constants))
        packed = pack_arguments(call.kernel, call.arguments)
        for i in range(calls):
            program.dispatch(pipeline, self._bindings(call, i * nbytes, sizes), packed, call.grid, call.threads)
            program.barrier()
        program.finish()
        samples = []
        for _ in range(1 + _REPEATS):
            submission = self.device.submit([program])
            submission.wait()
            samples.append(submission.device_seconds / calls)
        return statistics.median(samples[1:])

    def _bindings(
        self, call: KernelCall, first: int, sizes: dict[int, int]
    ) -> list[tuple[_fastmetal.Buffer, int] | None]:
        """Weights one after the other from byte `first`, each activation in a slot of its own."""
        arguments = [a for a in _fastmetal.kernel(call.kernel)["arguments"] if a["is_buffer"] and a["index"] > 0]
        bindings: list[tuple[_fastmetal.Buffer, int] | None] = [None] * (1 + max(a["index"] for a in arguments))
        for slot, argument in enumerate(arguments):
            tensor = call.buffers[argument["name"]]
            if tensor is None:
                continue
            if tensor.storage is Storage.WEIGHT:
                bindings[argument["index"]] = (self.weights, first)
                first += sizes[tensor.shape[0]]
            else:
                bindings[argument["index"]] = (self.vectors, slot * _SLOT)
        return bindings


def cuts(product: Product, format: str) -> Iterator[Cut]:
    """All that are tried."""
    kernel = quant.get_format(format).kernel
    if kernel in vector_tuning.TILE_FORMATS:
        depths = vector_tuning.tile_depths(product.kernel)
        for depth, parts, simdgroups in itertools.product(depths, (1, 2, 4, 8, 16), (4, 8, 16)):
            if parts <= simdgroups and parts * 32 <= product.columns:
                yield Cut(vector_tuning.TILE_OUTPUTS, parts, simdgroups, depth)
        return
    # Every threadgroup of the other kernels makes the whole row first, so theirs are large.
    is_plain = product.kernel == "matmul_vector"
    widest, threadgroups = ((1, 2, 4), (4, 8, 16)) if is_plain else ((1, 2, 3), (8, 16))
    for outputs, parts, simdgroups in itertools.product(widest, (1, 2, 4, 8, 16), threadgroups):
        if parts <= simdgroups:
            yield Cut(outputs, parts, simdgroups)


def compile_all(device: str, jobs: Sequence[tuple[Product, str, Cut]]) -> None:
    """Puts kernels into the cache on disk; what a process of a pool does."""
    opened = open_device(device)
    width = max(parallel_width(opened.info), 2)
    for product, format, cut in jobs:
        with measured(width, product, format, cut):
            call = product.call(format, width)
        opened.pipeline(call.kernel, dict(call.constants))


def write_table(found: dict[tuple[int, str, str, int, int], Cut]) -> None:
    """Puts the cuts into the table, beside those of other devices."""
    path = Path(vector_cuts.__file__)
    head = path.read_text(encoding="utf-8").partition("MEASURED: ")[0]
    table = {**vector_cuts.MEASURED, **found}
    lines = "".join(f"    {key!r}: {value!r},\n".replace("'", '"') for key, value in sorted(table.items()))
    annotation = "MEASURED: dict[tuple[int, str, str, int, int], Cut] = {"
    path.write_text(f"{head}{annotation}\n{lines}}}\n", encoding="utf-8")


def tune(bench: Bench, product: Product, format: str, print_all: bool) -> Cut:
    """The best cut of a product."""
    times = {cut: bench.seconds(product, format, cut) for cut in cuts(product, format)}
    best = min(times, key=times.__getitem__)
    now = bench.seconds(product, format, present_cut(bench, product, format))
    nbytes = sum(quant.total_nbytes(format, outputs, product.columns) for outputs in product.outputs)
    print(
        f"{product.kernel:18} {format:8} {product.total:6} x {product.columns:5} {times[best] * 1e6:8.2f} us "
        f"{nbytes / times[best] / 1e9:6.0f} GB/s {tuple(best)}; now {now * 1e6:8.2f} us",
        flush=True,
    )
    if print_all:
        print("  ", *(f"{tuple(c)}:{s * 1e6:.1f}" for c, s in sorted(times.items(), key=lambda i: i[1])))
    return best


def present_cut(bench: Bench, product: Product, format: str) -> Cut:
    """The cut that the table or the rule gives."""
    kernel = quant.get_format(format).kernel
    return vector_tuning.cut(product.kernel, kernel, product.total, product.columns, bench.width)


def main(argv: list[str]) -> int:
    """Measures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tune", description="Measure the cuts of one-row products.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--format", action="append", help="weight formats, by default q4_0, int4_g32 and bf16")
    parser.add_argument("--shape", action="append", help="OUTPUTSxCOLUMNS, by default those of the models")
    parser.add_argument("--jobs", type=int, default=0, help="processes that compile all kernels beforehand")
    parser.add_argument("--write", action="store_true", help="rewrite the table")
    parser.add_argument("--all", action="store_true", help="print every cut")
    options = parser.parse_args(argv)
    formats = options.format or ("q4_0", "int4_g32", "bf16")
    width = max(parallel_width(open_device(options.device).info), 2)
    chosen = [
        (product, format)
        for format in formats
        for product in products(format, width)
        if options.shape is None or f"{product.total}x{product.columns}" in options.shape
    ]
    work = [(product, format, cut) for product, format in chosen for cut in cuts(product, format)]
    if options.jobs:
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            shares = [pool.submit(compile_all, options.device, work[i :: options.jobs]) for i in range(options.jobs)]
            for share in shares:
                share.result()
    bench, found = Bench(open_device(options.device)), {}
    for product, format in chosen:
        kernel = quant.get_format(format).kernel
        key = (bench.width, product.kernel, kernel, product.total, product.columns)
        found[key] = tune(bench, product, format, options.all)
    if options.write:
        write_table(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
