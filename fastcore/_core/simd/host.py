"""Vector width of the CPU that Numba compiles for.

The answer is read from machine code: a few vector instructions are compiled for the CPU name and features Numba
uses (NUMBA_CPU_NAME and NUMBA_CPU_FEATURES when set, else the host's) and the registers in the assembly are looked
at. So there is no table of CPU names to keep, and an unknown name follows LLVM's own idea of it. Costs 8 ms, once.
"""

import llvmlite.binding as llvm
from numba import types
from numba.core import codegen, config
from numba.core.typing.typeof import typeof_impl

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
]

# 4 x i64 multiply is one vpmullq only with AVX-512 DQ and VL; 64 x i8 add uses zmm only with BW, ymm only with AVX2.
_PROBE = """
declare <8 x float> @llvm.fma.v8f32(<8 x float>, <8 x float>, <8 x float>)
define void @probe(ptr %p) {
  %f = load <8 x float>, ptr %p
  %fma = call <8 x float> @llvm.fma.v8f32(<8 x float> %f, <8 x float> %f, <8 x float> %f)
  store <8 x float> %fma, ptr %p
  %i = load <4 x i64>, ptr %p
  %mul = mul <4 x i64> %i, %i
  store <4 x i64> %mul, ptr %p
  %b = load <64 x i8>, ptr %p
  %add = add <64 x i8> %b, %b
  store <64 x i8> %add, ptr %p
  %h = load <8 x half>, ptr %p
  %e = fpext <8 x half> %h to <8 x float>
  store <8 x float> %e, ptr %p
  ret void
}
"""


class LaneCount(int):
    """An int that Numba types as a literal wherever it comes from.

    Numba keeps the value of `F32_LANES` as a global but widens it to int64 when it is read as `simd.F32_LANES`.
    """


@typeof_impl.register(LaneCount)
def _typeof_lane_count(value, context):
    return types.literal(int(value))


def _probe_assembly(features: str) -> str:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name = config.CPU_NAME if config.CPU_NAME is not None else llvm.get_host_cpu_name()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(cpu=name, features=features, opt=1)
    return machine.emit_assembly(llvm.parse_assembly(_PROBE))


def _lines_with(assembly: str, *words: str) -> bool:
    return any(all(word in line for word in words) for line in assembly.splitlines())


_features: str = config.CPU_FEATURES if config.CPU_FEATURES is not None else codegen.get_host_cpu_features()
_assembly = _probe_assembly(_features)
_TRIPLE = llvm.get_process_triple()

# Without FMA the probe calls fmaf lane by lane; simd.fma is then a multiplication and an addition.
HAS_FMA: bool = "fmaf" not in _assembly
# Without F16C the probe calls __extendhfsf2 for a half, a function the JIT may not find.
HAS_HALF: bool = "__extendhfsf2" not in _assembly
HAS_AVX512: bool = _lines_with(_assembly, "vpaddb", "zmm") and _lines_with(_assembly, "vpmullq", "ymm")
# Sums of products of bytes, vpdpbusd. No plain IR is sure to become it, so here the list of features is asked.
HAS_VNNI: bool = HAS_AVX512 and "+avx512vnni" in _features.split(",")
# Sums of products of bfloat16, vdpbf16ps: the same.
HAS_BFLOAT: bool = HAS_AVX512 and "+avx512bf16" in _features.split(",")
VECTOR_BITS: int = 512 if HAS_AVX512 else 256 if HAS_FMA and _lines_with(_assembly, "vpaddb", "ymm") else 128
NUM_REGISTERS: int = 32 if HAS_AVX512 or _TRIPLE.startswith(("aarch64", "arm64")) else 16
F32_LANES: int = LaneCount(VECTOR_BITS // 32)
F64_LANES: int = LaneCount(VECTOR_BITS // 64)
