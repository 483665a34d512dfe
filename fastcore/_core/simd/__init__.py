from fastcore._core.simd.host import *
from fastcore._core.simd.types import *
from fastcore._core.simd import operators
from fastcore._core.simd.lanes import *
from fastcore._core.simd.memory import *
from fastcore._core.simd.exponential import *
