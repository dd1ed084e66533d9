"""Function names of Metal's standard library, as far as shaders/compat defines them."""

from __future__ import annotations

_REDUCTIONS = ("sum", "product", "min", "max", "and", "or", "xor")
_SHUFFLES = ("shuffle", "shuffle_up", "shuffle_down", "shuffle_xor", "shuffle_and_fill_up", "shuffle_and_fill_down",
             "shuffle_rotate_up", "shuffle_rotate_down", "broadcast")  # fmt: skip
_SCANS = tuple(f"prefix_{kind}_{what}" for kind in ("inclusive", "exclusive") for what in ("sum", "product"))
_VOTES = ("all", "any")
_SIMDGROUP = frozenset(
    [f"{group}_{name}" for group in ("simd", "quad") for name in (*_REDUCTIONS, *_SHUFFLES, *_SCANS, *_VOTES)]
    + ["simd_broadcast_first", "simd_ballot", "simd_is_first", "simd_active_threads_mask"]
    + ["threadgroup_barrier", "simdgroup_barrier", "make_filled_simdgroup_matrix"]
    + ["simdgroup_load", "simdgroup_store", "simdgroup_multiply", "simdgroup_multiply_accumulate"]
)

# What makes a kernel need lock step; types included, since their operators are functions too.
LOCKSTEP_NAMES = _SIMDGROUP | frozenset(
    ["simdgroup_matrix", *(f"simdgroup_{scalar}8x8" for scalar in ("float", "half", "bfloat"))]
)

_MATHEMATICS = frozenset({
    "abs", "acos", "acosh", "all", "any", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "clamp", "copysign",
    "cos", "cosh", "cospi", "cross", "distance", "distance_squared", "divide", "dot", "exp", "exp10", "exp2", "fabs",
    "fdim", "floor", "fma", "fmax", "fmax3", "fmin", "fmin3", "fmod", "fract", "frexp", "ilogb", "isfinite", "isinf",
    "isnan", "isnormal", "ldexp", "length", "length_squared", "log", "log10", "log2", "max", "max3", "median3",
    "min", "min3", "mix", "modf", "nextafter", "normalize", "pow", "powr", "reflect", "rint", "round", "rsqrt",
    "saturate", "select", "sign", "signbit", "sin", "sincos", "sinh", "sinpi", "smoothstep", "sqrt", "step", "tan",
    "tanh", "tanpi", "transpose", "trunc", "absdiff", "addsat", "clz", "ctz", "extract_bits", "hadd", "insert_bits",
    "mad24", "madhi", "mul24", "mulhi", "popcount", "reverse_bits", "rhadd", "rotate", "subsat",
})  # fmt: skip

# Class templates that shaders specialise for types of their own.
LIBRARY_TEMPLATES = frozenset({"numeric_limits", "_numeric_limits_impl"})

STANDARD_FUNCTIONS = _SIMDGROUP | _MATHEMATICS
