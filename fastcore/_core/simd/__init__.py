"""SIMD values for kernels: LLVM vectors as wide as the CPU's registers, with Python's operators.

Constants: VECTOR_BITS, F32_LANES, F64_LANES, NUM_REGISTERS, HAS_FMA, HAS_AVX512, HAS_VNNI, HAS_BFLOAT; dtypes f32, f64,
i8 ... u64.

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
| sin, cos, sincos; above 2**15 (2**28) 10, 70 ns | 0.9, 0.9 | 0.43, 1.01; 0.60, 1.37 |
| tan | 2.4, 2.4 | 0.51, 1.19; 0.78, 1.74 |
| arcsin, arccos, arctan | 2.5, 1.3, 2.0 in both | 0.4, 1.0; 0.8, 2.0 |
| arctan2 | 2.0, 2.0 | 1.05, 2.4; 1.3, 3.2 |
| log2, log10, log1p | 1.1, 1.0, 1.0 in both | 0.7, 1.2; 0.7, 1.8 |
| expm1, sinh, cosh | 1.4, 2.6, 1.5 in both | 0.4, 1.0; 0.6, 1.6 |
| arcsinh, arccosh, arctanh | 2.0, 2.6, 2.2 in both | 0.9, 2.3; 1.7, 4.1 |
| cbrt | 0.6, 0.6 | 0.8, 1.9; 1.6, 3.4 |
| hypot | 1.2, 1.2 | 0.5, 0.8; 0.4, 0.8 |
| power | 0.9, 0.9 | 2.7, 4.3; 4.2, 6.8 |

Without FMA (plain x86-64) up to 0.4 ulp more (log2, log10: 0.8). NaN gives NaN, infinities their limits; denormals are
taken and given with the same bounds. tests/_core/test_simd_math.py holds this over the whole range.
"""

from numba import config

from fastcore._core.simd.host import (
    F32_LANES,
    F64_LANES,
    HAS_AVX512,
    HAS_BFLOAT,
    HAS_FMA,
    HAS_HALF,
    HAS_VNNI,
    NUM_REGISTERS,
    VECTOR_BITS,
)
from fastcore._core.simd.types import Vector, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64

if config.DISABLE_JIT:
    from fastcore._core.simd.python_fallback import (
        absolute,
        address_of,
        advance,
        all_lanes,
        any_lane,
        arccos,
        arccosh,
        arcsin,
        arcsinh,
        arctan,
        arctan2,
        arctanh,
        bfloat_to_float,
        bitcast,
        broadcast,
        cast_pointer,
        cbrt,
        ceil,
        convert,
        copysign,
        cos,
        cosh,
        erf,
        exp,
        exp2,
        expm1,
        float_to_bfloat,
        float_to_half,
        floats_to_bfloats,
        floats_to_pairs,
        floor,
        fma,
        gather,
        half_to_float,
        hypot,
        interleave,
        iota_i32,
        iota_i64,
        load,
        load_first,
        load_scalar,
        log,
        log1p,
        log2,
        log10,
        mask_bits,
        mask_of_bits,
        maximum,
        minimum,
        pointer,
        pointer_at,
        power,
        quick_sqrt,
        reduce_add,
        reduce_max,
        reduce_min,
        rint,
        rotate,
        select,
        sigmoid,
        sin,
        sincos,
        sinh,
        softmax_exp2,
        sqrt,
        store,
        store_first,
        store_scalar,
        store_selected,
        stream,
        stream_fence,
        tan,
        tanh,
        trunc,
    )
else:
    from fastcore._core.simd import operators  # noqa: F401, registers Python's operators
    from fastcore._core.simd.error_function import erf
    from fastcore._core.simd.exponential import exp, exp2, sigmoid, softmax_exp2, tanh
    from fastcore._core.simd.half import (
        bfloat_to_float,
        float_to_bfloat,
        float_to_half,
        floats_to_bfloats,
        floats_to_pairs,
        half_to_float,
    )
    from fastcore._core.simd.hyperbolic import arccosh, arcsinh, arctanh, cosh, expm1, sinh
    from fastcore._core.simd.inverse_trigonometric import arccos, arcsin, arctan, arctan2
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
    from fastcore._core.simd.logarithm import log, log1p, log2, log10
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
    from fastcore._core.simd.power import cbrt, hypot, power
    from fastcore._core.simd.rounding import absolute, ceil, copysign, floor, rint, trunc
    from fastcore._core.simd.trigonometric import cos, sin, sincos, tan

__all__ = [
    "F32_LANES",
    "F64_LANES",
    "HAS_AVX512",
    "HAS_BFLOAT",
    "HAS_FMA",
    "HAS_HALF",
    "HAS_VNNI",
    "NUM_REGISTERS",
    "VECTOR_BITS",
    "Vector",
    "absolute",
    "address_of",
    "advance",
    "all_lanes",
    "any_lane",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "bfloat_to_float",
    "bitcast",
    "broadcast",
    "cast_pointer",
    "cbrt",
    "ceil",
    "convert",
    "copysign",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "f32",
    "f64",
    "float_to_bfloat",
    "float_to_half",
    "floats_to_bfloats",
    "floats_to_pairs",
    "floor",
    "fma",
    "gather",
    "half_to_float",
    "hypot",
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
    "log1p",
    "log2",
    "log10",
    "mask_bits",
    "mask_of_bits",
    "maximum",
    "minimum",
    "pointer",
    "pointer_at",
    "power",
    "quick_sqrt",
    "reduce_add",
    "reduce_max",
    "reduce_min",
    "rint",
    "rotate",
    "select",
    "sigmoid",
    "sin",
    "sincos",
    "sinh",
    "softmax_exp2",
    "sqrt",
    "store",
    "store_first",
    "store_scalar",
    "store_selected",
    "stream",
    "stream_fence",
    "tan",
    "tanh",
    "trunc",
    "u8",
    "u16",
    "u32",
    "u64",
]
