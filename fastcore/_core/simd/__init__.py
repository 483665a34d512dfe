"""SIMD values for kernels: LLVM vectors as wide as the CPU's registers, with Python's operators.

Constants: VECTOR_BITS, F32_LANES, F64_LANES, NUM_REGISTERS, HAS_FMA, HAS_AVX512, HAS_VNNI; dtypes f32, f64, i8 ... u64.

Lane counts are powers of two known at compile time: a literal, a global, or `simd.F32_LANES`. `broadcast(x, lanes,
dtype)` takes the type of x where dtype is left out. Vectors go through variables, tuples, and arguments and results of
jitted functions, which LLVM inlines. Scalars in operators, `fma`, `select`, `minimum` and `maximum` are converted
to the vector's dtype and broadcast. All float instructions are exact: a kernel's fastmath flags do not reach them, so a
product and a sum stay two roundings and `fma` is one.

| function | largest error in ulp, float32 and float64 | ns per element (AVX-512, 3.7 GHz; AVX2 on the same CPU) |
|---|---|---|
| exp2 | 0.85, 0.8 | 0.12, 0.41; 0.31, 0.99 |
| softmax_exp2 | 2.0, 0.8 for -126 (-1022) <= x <= 8 | 0.10, 0.41; 0.20, 0.66 |
| exp | 0.9, 0.9 | 0.17, 0.54; 0.38, 1.11 |
| log | 0.9, 0.9 | 0.35, 0.86; 0.58, 1.45 |
| tanh | 2.6, 2.6 | 0.29, 0.81; 0.45, 1.54 |
| erf | 1.0, 1.0 | 0.62, 2.22; 1.01, 4.13 |
| sigmoid | 2.4, 2.4 | 0.25, 0.75; 0.53, 1.57 |
| sin, cos; sizes above 2**15 (2**28) 10 ns a lane | 0.9, 0.9 | 0.44, 1.01; 0.60, 1.40 |

Without FMA (plain x86-64) up to 0.3 ulp more. NaN gives NaN, infinities their limits; denormals are taken and given
with the same bounds. tests/_core/test_simd_math.py holds this over the whole range.
"""

from numba import config

from fastcore._core.simd.host import (
    F32_LANES,
    F64_LANES,
    HAS_AVX512,
    HAS_FMA,
    HAS_HALF,
    HAS_VNNI,
    NUM_REGISTERS,
    VECTOR_BITS,
)
from fastcore._core.simd.types import Vector, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64

if config.DISABLE_JIT:
    from fastcore._core.simd.python_fallback import (
        address_of,
        advance,
        all_lanes,
        any_lane,
        bfloat_to_float,
        bitcast,
        broadcast,
        cast_pointer,
        convert,
        cos,
        erf,
        exp,
        exp2,
        float_to_bfloat,
        float_to_half,
        fma,
        gather,
        half_to_float,
        interleave,
        iota_i32,
        iota_i64,
        load,
        load_first,
        load_scalar,
        log,
        mask_bits,
        mask_of_bits,
        maximum,
        minimum,
        pointer,
        pointer_at,
        quick_sqrt,
        reduce_add,
        reduce_max,
        reduce_min,
        rotate,
        select,
        sigmoid,
        sin,
        sincos,
        softmax_exp2,
        sqrt,
        store,
        store_first,
        store_scalar,
        store_selected,
        stream,
        stream_fence,
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
        interleave,
        iota_i32,
        iota_i64,
        mask_bits,
        mask_of_bits,
        maximum,
        minimum,
        quick_sqrt,
        reduce_add,
        reduce_max,
        reduce_min,
        rotate,
        select,
        sqrt,
    )
    from fastcore._core.simd.logarithm import log
    from fastcore._core.simd.memory import (
        address_of,
        advance,
        cast_pointer,
        gather,
        load,
        load_first,
        load_scalar,
        pointer,
        pointer_at,
        store,
        store_first,
        store_scalar,
        store_selected,
        stream,
        stream_fence,
    )
    from fastcore._core.simd.trigonometric import cos, sin, sincos

__all__ = [
    "F32_LANES",
    "F64_LANES",
    "HAS_AVX512",
    "HAS_FMA",
    "HAS_HALF",
    "HAS_VNNI",
    "NUM_REGISTERS",
    "VECTOR_BITS",
    "Vector",
    "address_of",
    "advance",
    "all_lanes",
    "any_lane",
    "bfloat_to_float",
    "bitcast",
    "broadcast",
    "cast_pointer",
    "convert",
    "cos",
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
    "interleave",
    "iota_i32",
    "iota_i64",
    "load",
    "load_first",
    "load_scalar",
    "log",
    "mask_bits",
    "mask_of_bits",
    "maximum",
    "minimum",
    "pointer",
    "pointer_at",
    "quick_sqrt",
    "reduce_add",
    "reduce_max",
    "reduce_min",
    "rotate",
    "select",
    "sigmoid",
    "sin",
    "sincos",
    "softmax_exp2",
    "sqrt",
    "store",
    "store_first",
    "store_scalar",
    "store_selected",
    "stream",
    "stream_fence",
    "tanh",
    "u8",
    "u16",
    "u32",
    "u64",
]
