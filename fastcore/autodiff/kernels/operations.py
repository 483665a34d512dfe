"""What each operation of a program computes, on vectors: one function of `fastcore._core.simd` or of this file."""

import operator

from fastcore._core import simd
from fastcore._core.jit import kernel


@kernel
def maximum(a, b):
    """The larger, NaN where either is: `simd.maximum` gives b then."""
    return simd.select(a != a, a, simd.maximum(a, b))


@kernel
def minimum(a, b):
    """The smaller, NaN where either is."""
    return simd.select(a != a, a, simd.minimum(a, b))


@kernel
def sign(a):
    """-1, 0 or 1, never -0.0, as NumPy; NaN of NaN."""
    return simd.select(a > 0.0, 1.0, simd.select(a < 0.0, -1.0, a + 0.0))


# Programs name their operations by these words; those of `simd` are called as there.
OPERATIONS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "logical_xor": operator.xor,
    "logical_not": operator.invert,
    "where": simd.select,
    "maximum": maximum,
    "minimum": minimum,
    "sign": sign,
}
_FROM_SIMD = (
    "absolute arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil cos cosh erf exp exp2 expm1 floor hypot"
    " log log10 log1p log2 power rint sigmoid sin sincos sinh sqrt tan tanh trunc"
)
OPERATIONS |= {name: getattr(simd, name) for name in _FROM_SIMD.split()}
# Those that are more than a few instructions.
ELEMENTARY = {*_FROM_SIMD.split()} - {"absolute", "ceil", "floor", "rint", "sqrt", "trunc"}
# How many values an operation has, where it is not one.
RESULTS = {"sincos": 2}
