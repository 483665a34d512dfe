"""Functions of LLVM's own: size and sign, and rounding to whole numbers."""

from __future__ import annotations

from numba.extending import intrinsic

from fastcore._core.simd.emit import binary, unary


@intrinsic
def absolute(typingctx, x):
    """Return |x|, also of -0.0 and NaN."""
    return unary(lambda x: x.absolute(), x)


@intrinsic
def copysign(typingctx, x, y):
    """Return |x| with the sign of y; one of them may be a scalar."""
    return binary(lambda x, y: x.by_llvm("copysign", y), x, y)


@intrinsic
def floor(typingctx, x):
    """Return the largest whole number not above x."""
    return unary(lambda x: x.by_llvm("floor"), x)


@intrinsic
def ceil(typingctx, x):
    """Return the smallest whole number not below x."""
    return unary(lambda x: x.by_llvm("ceil"), x)


@intrinsic
def trunc(typingctx, x):
    """Return x without its fraction."""
    return unary(lambda x: x.by_llvm("trunc"), x)


@intrinsic
def rint(typingctx, x):
    """Return the whole number nearest to x, the even one of two."""
    return unary(lambda x: x.by_llvm("rint"), x)
