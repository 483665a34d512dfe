"""SIMD values for kernels: LLVM vectors as wide as the CPU's registers, with Python's operators.

Constants: VECTOR_BITS, F32_LANES, F64_LANES, NUM_REGISTERS, HAS_FMA, HAS_AVX512; dtypes f32, f64, i8 ... u64.

Lane counts are powers of two known at compile time: a literal, a global, or `simd.F32_LANES`. `broadcast(x, lanes,
dtype)` takes the type of x where dtype is left out. Vectors go through variables, tuples, and arguments and results of
jitted functions, which LLVM inlines. Scalars in operators, `fma`, `select`, `minimum` and `maximum` are converted
to the vector's dtype and broadcast. All float instructions are exact: a kernel's fastmath flags do not reach them, so a
product and a sum stay two roundings and `fma` is one.

| function | error in units in the last place, float32 / float64, over the whole range |
|---|---|
@BOUNDS@
"""

from numba import config

from fastcore._core.simd.host import (
    F32_LANES,
    F64_LANES,
    HAS_AVX512,
    HAS_FMA,
    HAS_HALF,
    NUM_REGISTERS,
    VECTOR_BITS,
)
from fastcore._core.simd.types import Vector, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64

if config.DISABLE_JIT:
    from fastcore._core.simd.python_fallback import (
        advance,
        all_lanes,
        any_lane,
        bfloat_to_float,
        bitcast,
        broadcast,
        convert,
        erf,
        exp,
        exp2,
        float_to_bfloat,
        float_to_half,
        fma,
        gather,
        half_to_float,
        iota_i32,
        iota_i64,
        load,
        load_first,
        load_scalar,
        log,
        maximum,
        minimum,
        pointer,
        pointer_at,
        reduce_add,
        reduce_max,
        reduce_min,
        select,
        sigmoid,
        softmax_exp2,
        store,
        store_first,
        store_scalar,
        tanh,
    )
else:
    from fastcore._core.simd import operators  # noqa: F401, registers Python's operators
    from fastcore._core.simd.error_function import erf
    from fastcore._core.simd.exponential import exp, exp2, sigmoid, softmax_exp2, tanh
    from fastcore._core.simd.half import bfloat_to_float, float_to_bfloat, float_to_half, half_to_float
    from fastcore._core.simd.lanes import (
        all_lanes,
        any_lane,
        bitcast,
        broadcast,
        convert,
        fma,
        iota_i32,
        iota_i64,
        maximum,
        minimum,
        reduce_add,
        reduce_max,
        reduce_min,
        select,
    )
    from fastcore._core.simd.logarithm import log
    from fastcore._core.simd.memory import (
        advance,
        gather,
        load,
        load_first,
        load_scalar,
        pointer,
        pointer_at,
        store,
        store_first,
        store_scalar,
    )

__all__ = [
    "F32_LANES",
    "F64_LANES",
    "HAS_AVX512",
    "HAS_FMA",
    "HAS_HALF",
    "NUM_REGISTERS",
    "VECTOR_BITS",
    "Vector",
    "advance",
    "all_lanes",
    "any_lane",
    "bfloat_to_float",
    "bitcast",
    "broadcast",
    "convert",
    "erf",
    "exp",
    "exp2",
    "f32",
    "f64",
    "float_to_bfloat",
    "float_to_half",
    "fma",
    "gather",
    "half_to_float",
    "i8",
    "i16",
    "i32",
    "i64",
    "iota_i32",
    "iota_i64",
    "load",
    "load_first",
    "load_scalar",
    "log",
    "maximum",
    "minimum",
    "pointer",
    "pointer_at",
    "reduce_add",
    "reduce_max",
    "reduce_min",
    "select",
    "sigmoid",
    "softmax_exp2",
    "store",
    "store_first",
    "store_scalar",
    "tanh",
    "u8",
    "u16",
    "u32",
    "u64",
]
