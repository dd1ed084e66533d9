"""Every form of attention equals the naive one, for any masks, windows, lengths, heads and caches.

Forms: attention, attention_split, and the two that rotate and cache their own row's key. What a form must not read is
NaN: other sequences, and positions that no row sees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cached import CACHE_DTYPES, as_cache, as_doubles
from fastgo import tolerances
from fastgo.ops import attention_split, rope_cache
from harness import Array, Int4Cache, error, random_rows, run, run_wide
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from variants import Variant

CACHES = ("k_cache", "v_cache")
NUM_SEQUENCES = 3
many_examples = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
heads_of_a_group = st.integers(1, 6)
windows = st.sampled_from([0, 1, 2, 5, 11, 30, 64, 200])


@st.composite
def attention_inputs(draw: st.DrawFn, head_dims: tuple[int, ...], most_rows: int) -> dict[str, Any]:
    """Rows at any positions of any sequences, over caches of any format; all that nobody sees is NaN."""
    kv_heads, group, head_dim = draw(st.integers(1, 3)), draw(heads_of_a_group), draw(st.sampled_from(head_dims))
    capacity, rows = draw(st.sampled_from([1, 2, 7, 33, 64, 90])), draw(st.integers(1, most_rows))
    seed = draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    positions, sequences = rng.integers(0, capacity, rows), rng.integers(0, NUM_SEQUENCES, rows)
    inputs: dict[str, Any] = {
        "q": random_rows(seed, rows, kv_heads * group * head_dim),
        "positions": positions.astype(np.int32),
        "sequences": sequences.astype(np.int32),
    }
    dtype = draw(st.sampled_from([name for name in CACHE_DTYPES if name != "int4" or head_dim % 4 == 0]))
    for index, name in enumerate(CACHES):
        values = random_rows(seed + 1 + index, NUM_SEQUENCES, kv_heads, capacity, head_dim)
        for sequence in range(NUM_SEQUENCES):
            values[sequence, :, positions[sequences == sequence].max(initial=-1) + 1 :] = np.nan
        inputs[name] = as_cache(values, dtype)
    return inputs


@st.composite
def masks(draw: st.DrawFn, positions: Array) -> dict[str, Array]:
    """No blocks, or for some of the rows one that holds the row's position and ends with what the cache holds."""
    if draw(st.booleans()):
        return {}
    end = int(positions.max()) + 1
    ranges = [(draw(st.integers(0, p)), draw(st.integers(p + 1, end))) if draw(st.booleans()) else (0, 0)
              for p in map(int, positions)]  # fmt: skip
    return {"blocks": np.array(ranges, np.int32)}


def naive(inputs: dict[str, Any], attributes: dict[str, Any]) -> tuple[Array, Array]:
    """By the reference, from what the caches hold; NaN is never visible, so zero stands for it."""
    values = {name: as_doubles(x) if name in CACHES else x for name, x in inputs.items()}
    doubles = {name: x if x.dtype == np.int32 else np.nan_to_num(x.astype(np.float64)) for name, x in values.items()}
    return attention_split.reference(**doubles, **attributes)


def precision_of(inputs: dict[str, Any], variant: Variant) -> str:
    cache = inputs["k_cache"]
    dtypes = {"float32": "float32", "float16": "float16", "uint16": "bfloat16"}
    dtype = dtypes[cache.dtype.name] if isinstance(cache, np.ndarray) else "integers"
    head_dim, rows = as_doubles(cache).shape[3], inputs["q"].shape[0]
    return tolerances.attention_precision(variant.name, dtype, head_dim, rows, variant.name == "device")


@many_examples
@given(data=st.data())
def test_attention_is_the_naive_form(variant: Variant, data: st.DataObject) -> None:
    inputs = data.draw(attention_inputs((2, 12, 64, 80, 128, 256), most_rows=20))
    attributes = {"scale": data.draw(st.sampled_from([0.05, 0.125])), "window": data.draw(windows)}
    got = variant.call(run, "attention", inputs, attributes)["y"]
    want, _ = naive(inputs, attributes)
    assert error(got, want) <= tolerances.KERNELS["attention", precision_of(inputs, variant)]


@many_examples
@given(data=st.data())
def test_attention_split_is_the_naive_form(variant: Variant, data: st.DataObject) -> None:
    """With any number of parts, blocks around some rows, sinks and caps; its log-sum-exp too."""
    inputs = data.draw(attention_inputs((8, 80, 192), most_rows=4))
    if len(set(inputs["sequences"].tolist())) == 1:
        inputs |= data.draw(masks(inputs["positions"]))
    if data.draw(st.booleans()):
        heads = inputs["q"].shape[1] // as_doubles(inputs["k_cache"]).shape[3]
        inputs["sinks"] = random_rows(17, heads)
    attributes = {
        "scale": data.draw(st.sampled_from([0.05, 0.125])),
        "window": data.draw(windows),
        "soft_cap": data.draw(st.sampled_from([0.0, 5.0])),
    }
    got = variant.call(run, "attention_split", inputs, {**attributes, "splits": data.draw(st.integers(1, 9))})
    y, log_sum_exp = naive(inputs, attributes)
    assert error(got["y"], y) <= tolerances.KERNELS["attention_split", "float32"]
    assert error(got["log_sum_exp"], log_sum_exp) <= tolerances.KERNELS["attention_split", "float32"]


@pytest.mark.parametrize("run_form", [run, run_wide], ids=["whole", "split"])
@many_examples
@given(data=st.data())
def test_rope_attention_is_the_naive_form(
    variant: Variant, run_form: Callable[..., dict[str, Any]], data: st.DataObject
) -> None:
    """Over the caches as it leaves them; they keep every row but its own."""
    if variant.is_native and run_form is run_wide:
        pytest.skip("a form for GPUs: the shader itself is tested")
    inputs = data.draw(attention_inputs((64, 128, 256), most_rows=1))
    _, kv_heads, _, head_dim = as_doubles(inputs["k_cache"]).shape
    inputs |= {name: random_rows(seed, 1, kv_heads * head_dim) for seed, name in ((31, "k"), (32, "v"))}
    inputs["frequencies"] = (10_000.0 ** -(np.arange(head_dim // 2) / (head_dim // 2))).astype(np.float32)
    if data.draw(st.booleans()):
        inputs |= {name: random_rows(33, 1, head_dim)[0] for name in ("q_weight", "k_weight")}
    attributes = {"scale": 0.125, "window": data.draw(windows)}
    got = variant.call(run_form, "rope_attention", inputs, {**attributes, "eps": 1e-6})
    floats = {n: as_doubles(x) if n in CACHES else x for n, x in inputs.items()}
    rotated, keys, values = rope_cache.reference(
        **{n: x if x.dtype == np.int32 else x.astype(np.float64) for n, x in floats.items()}, eps=1e-6
    )
    own = inputs["sequences"][0], slice(None), inputs["positions"][0]
    for name, exact in zip(CACHES, (keys, values), strict=True):
        before, after = floats[name], as_doubles(got[name])
        steps = 14 if isinstance(got[name], Int4Cache) else 200
        np.testing.assert_allclose(after[own], exact[own], atol=1.01 * np.abs(exact[own]).max() / steps)
        before[own] = after[own]
        np.testing.assert_array_equal(after, before)
    seen = {"q": rotated, **{name: got[name] for name in CACHES}}
    seen |= {name: inputs[name] for name in ("positions", "sequences")}
    want, _ = naive(seen, attributes)
    rounding_of_angles = 5 * 90 * 2.0**-22
    assert error(got["y"], want) <= tolerances.KERNELS["attention", "float32"] + rounding_of_angles
