"""How many dispatches and dependent stages a layer costs in decode.

Counted on recorded programs: the model's own decode pass, and the same pass cut off after its first layer. What lies
outside of the layers (embedding, output head, sampling) is in both and falls out of the difference.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from fastgo.bench.recording import PassRecorder
from fastgo.engine.devices import device_errors
from fastgo.engine.engine import Engine
from fastgo.engine.steps import Output


def count(engine: Engine) -> dict[str, Any]:
    """Counts of a decode pass, whole and per layer, in the form of a row of JSON.

    A per-layer count is a whole number unless layers differ; then it is their mean. A model of one layer is compared
    with none, where the final norm can't fuse with a layer's last addition.
    """
    layers = engine.config.num_hidden_layers
    fewer = min(1, layers - 1)
    with device_errors():
        recorder = PassRecorder(engine, 1)
        whole = recorder.build(1, Output.NEXT_TOKEN).program
        rest = recorder.with_layers(fewer).build(1, Output.NEXT_TOKEN).program
    return {
        "test": "stages",
        "batch": 1,
        "layers": layers,
        "dispatches_per_layer": _per_layer(whole.dispatch_count - rest.dispatch_count, layers - fewer),
        "dependent_stages_per_layer": _per_layer(whole.stage_count - rest.stage_count, layers - fewer),
        "dispatches": whole.dispatch_count,
        "dependent_stages": whole.stage_count,
    }


def _per_layer(total: int, layers: int) -> int | float:
    mean = Fraction(total, layers)
    return mean.numerator if mean.denominator == 1 else float(mean)
