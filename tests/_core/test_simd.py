"""SIMD values against NumPy, lane by lane.

test_simd_targets.py runs this file again for AVX2, for plain x86-64 and with the JIT disabled.
"""

import ctypes
import mmap
import os
from fractions import Fraction

import numba
import numpy as np
import pytest

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import elements_to_alignment

LANES = 8  # for every dtype: half a register to four of them
WIDE = 2 * simd.F32_LANES
FLOATS = [np.float32, np.float64]
INTEGERS = [np.int32, np.int64, np.uint8, np.uint16, np.uint32]
needs_jit = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="types are checked by Numba")


@kernel
def float_operators(x, y, s, out):
    a, b = simd.load(simd.pointer(x), LANES), simd.load(simd.pointer(y), LANES)
    o = simd.pointer(out)
    results = (
        (a + b, a - b, a * b, a / b),
        (-a, s + a, s - a, a * s),
        (s / a, simd.fma(a, b, a), simd.fma(a, s, b), simd.fma(s, a, s)),
        (simd.minimum(a, b), simd.maximum(a, b), simd.minimum(a, s), simd.maximum(s, a)),
        (simd.select(a < b, a, b), simd.select(a <= b, a, s), simd.select(a > s, s, b), simd.select(s >= a, a, b)),
        (simd.select(a == b, a, s), simd.select(a != b, a, s), simd.select(a != a, a, b), simd.select(~(a == a), a, b)),
    )
    for i in range(6):
        for j in range(4):
            simd.store(simd.advance(o, (4 * i + j) * LANES), results[i][j])


def fused(x, y, z):
    """x * y + z, rounded once where `simd.fma` does: with FMA, and in the float32 of the fallback."""
    dtype = np.asarray(x).dtype
    x, y, z = np.broadcast_arrays(x, y, z)
    result = x * y + z
    if dtype == np.float32 if numba.config.DISABLE_JIT else simd.HAS_FMA:
        for i in np.flatnonzero(np.isfinite(result) & (result != 0)):
            result[i] = float(Fraction(float(x[i])) * Fraction(float(y[i])) + Fraction(float(z[i])))
    return result


def expected_floats(a, b, s):
    return [
        *(a + b, a - b, a * b, a / b),
        *(-a, s + a, s - a, a * s),
        *(s / a, fused(a, b, a), fused(a, s, b), fused(a, s, s)),
        *(np.where(a < b, a, b), np.where(a > b, a, b), np.where(a < s, a, s), np.where(s > a, s, a)),
        *(np.where(a < b, a, b), np.where(a <= b, a, s), np.where(a > s, s, b), np.where(s >= a, a, b)),
        *(np.where(a == b, a, s), np.where(a != b, a, s), np.where(a != a, a, b), np.where(np.isnan(a), a, b)),
    ]


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_operators_match_numpy(dtype, rng):
    s = dtype(1.25)
    for special in (False, True):
        a, b = rng.standard_normal((2, LANES)).astype(dtype)
        if special:
            a[:] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.25, np.finfo(dtype).tiny / 8, np.finfo(dtype).max]
            b[:] = [-0.0, 0.0, np.inf, 1.0, 2.0, np.nan, 2.0, 2.0]
        out = np.empty((24, LANES), dtype)
        float_operators(a, b, s, out)
        with np.errstate(all="ignore"):
            expected = np.array(expected_floats(a, b, s))
        np.testing.assert_array_equal(out, expected)
        if not special:
            np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))


@kernel
def square_root(x, out):
    simd.store(simd.pointer(out), simd.sqrt(simd.load(simd.pointer(x), LANES)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_sqrt_is_correctly_rounded(dtype, rng):
    x = np.exp(20 * rng.standard_normal(LANES)).astype(dtype)
    for values in (x, np.array([0.0, -0.0, np.inf, -1.0, np.nan, 49.0, np.finfo(dtype).tiny / 8, 2.0], dtype)):
        out = np.empty_like(values)
        square_root(values, out)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(out, np.sqrt(values))


@kernel
def quick_square_roots(x, out):
    for i in range(0, x.size, LANES):
        vector = simd.load(simd.advance(simd.pointer(x), i), LANES)
        simd.store(simd.advance(simd.pointer(out), i), simd.quick_sqrt(vector))


@pytest.mark.parametrize("dtype", FLOATS)
def test_quick_sqrt_is_within_one_ulp_and_exact_for_squares(dtype, rng):
    out = np.empty(4096, dtype)
    squares = (np.arange(4096.0) ** 2).astype(dtype)
    quick_square_roots(squares, out)
    np.testing.assert_array_equal(out, np.arange(4096.0))
    x = np.exp2(rng.uniform(-120, 120, 4096) * (1 if dtype == np.float32 else 7)).astype(dtype)
    quick_square_roots(x, out)
    np.testing.assert_array_max_ulp(out, np.sqrt(x), 1)
    x = np.exp2(rng.uniform(-1070, -900, 4096)).astype(dtype)
    quick_square_roots(x, out)
    np.testing.assert_allclose(out, np.sqrt(x), rtol=2.0**-25)


@kernel
def integer_operators(x, y, s, out):
    a, b = simd.load(simd.pointer(x), LANES), simd.load(simd.pointer(y), LANES)
    o = simd.pointer(out)
    results = (
        (a + b, a - b, a * b, -a),
        (a & b, a | s, a ^ b, ~a),
        (a << 3, a >> 2, a << (b & 7), a >> (b & 7)),
        (simd.minimum(a, b), simd.maximum(a, b), simd.select(a < b, a, s), simd.select(a >= b, a, s)),
    )
    for i in range(4):
        for j in range(4):
            simd.store(simd.advance(o, (4 * i + j) * LANES), results[i][j])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_operators_match_numpy(dtype, rng):
    info = np.iinfo(dtype)
    a, b = rng.integers(info.min, info.max, (2, LANES), dtype)
    a[:2] = info.min, info.max
    s = dtype(5)
    out = np.empty((16, LANES), dtype)
    integer_operators(a, b, s, out)
    seven = dtype(7)
    expected = [
        *(a + b, a - b, a * b, -a, a & b, a | s, a ^ b, ~a),
        *(a << dtype(3), a >> dtype(2), a << (b & seven), a >> (b & seven)),
        *(np.minimum(a, b), np.maximum(a, b), np.where(a < b, a, s), np.where(a >= b, a, s)),
    ]
    np.testing.assert_array_equal(out, expected)


@kernel
def mask_operators(x, y, out):
    a, b = simd.load(simd.pointer(x), LANES), simd.load(simd.pointer(y), LANES)
    o = simd.pointer(out)
    simd.store(o, a & b)
    simd.store(simd.advance(o, LANES), a | b)
    simd.store(simd.advance(o, 2 * LANES), a ^ b)
    simd.store(simd.advance(o, 3 * LANES), ~a)
    a &= True
    return simd.any_lane(a), simd.all_lanes(a)


@pytest.mark.parametrize("bits", [0x00, 0xFF, 0x01, 0x80, 0xA5])
def test_masks_load_combine_and_reduce(bits):
    a = np.array([bits >> i & 1 for i in range(LANES)], bool)
    b = np.arange(LANES) % 3 == 0
    out = np.empty((4, LANES), bool)
    assert mask_operators(a, b, out) == (a.any(), a.all())
    np.testing.assert_array_equal(out, [a & b, a | b, a ^ b, ~a])


@kernel
def first_lanes(source, target, count):
    vector = simd.load_first(simd.pointer(source), LANES, count)
    simd.store(simd.pointer(target), vector)
    simd.store_first(simd.advance(simd.pointer(target), LANES), vector, count)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.uint16, np.bool_])
def test_load_first_and_store_first_touch_only_the_count(dtype):
    source = np.ones(LANES, dtype)
    for count in [*range(LANES + 2), 2**40]:
        target = np.full(3 * LANES, 1 if dtype is np.bool_ else 77, dtype)
        first_lanes(source, target, count)
        read = min(count, LANES)
        np.testing.assert_array_equal(target[:LANES], [1] * read + [0] * (LANES - read))
        np.testing.assert_array_equal(target[LANES + read :], np.full(2 * LANES - read, target[-1]))


@pytest.mark.skipif("FASTCORE_TEST_GUARD_PAGE" not in os.environ, reason="a failure kills the process")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_first_lanes_do_not_reach_the_next_page(dtype):
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    guard = ctypes.CDLL(None, use_errno=True).mprotect
    guard.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert guard(start + page, page, 0) == 0
    ending = np.frombuffer((ctypes.c_char * page).from_address(start), dtype)
    for count in range(LANES):
        edge = ending[len(ending) - count :]
        edge[:] = 1
        target = np.zeros(2 * LANES, dtype)
        first_lanes(edge, target, count)
        assert target.sum() == 2 * count
        store_only(np.full(LANES, 9, dtype), edge, count)
        assert (edge == 9).all()
    assert guard(start + page, page, mmap.PROT_READ | mmap.PROT_WRITE) == 0


@kernel
def store_only(source, target, count):
    simd.store_first(simd.pointer(target), simd.load(simd.pointer(source), LANES), count)


@kernel
def selected_lanes(source, chosen, target):
    mask = simd.load(simd.pointer(chosen), LANES)
    return simd.store_selected(simd.pointer(target), simd.load(simd.pointer(source), LANES), mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_store_selected_packs_the_chosen_lanes(dtype, rng):
    source = np.arange(1, LANES + 1).astype(dtype)
    for chosen in [np.zeros(LANES, bool), np.ones(LANES, bool), *(rng.random((20, LANES)) < 0.4)]:
        target = np.zeros(LANES + 1, dtype)
        assert selected_lanes(source, chosen, target) == chosen.sum()
        np.testing.assert_array_equal(target[: chosen.sum()], source[chosen])
        assert target[LANES] == 0


@kernel
def copy_vector(source, target):
    simd.store(simd.pointer(target), simd.load(simd.pointer(source), LANES))


@pytest.mark.parametrize("dtype", FLOATS)
def test_load_and_store_need_no_alignment(dtype):
    size = np.dtype(dtype).itemsize
    for offset in (size, 3 * size):
        source, target = np.arange(20, dtype=dtype), np.zeros(20, dtype)
        copy_vector(source[offset // size :], target[offset // size :])
        np.testing.assert_array_equal(target[offset // size :][:LANES], source[offset // size :][:LANES])


@kernel
def stream_vector(source, target):
    simd.stream(simd.pointer(target), simd.load(simd.pointer(source), LANES))
    simd.stream_fence()


@pytest.mark.parametrize("dtype", FLOATS)
def test_stream_writes_one_aligned_vector(dtype):
    memory = np.zeros(64, dtype)
    bytes_of_vector = LANES * memory.itemsize
    first = -memory.ctypes.data % bytes_of_vector // memory.itemsize
    stream_vector(np.arange(1, LANES + 1, dtype=dtype), memory[first:])
    np.testing.assert_array_equal(np.flatnonzero(memory), first + np.arange(LANES))
    np.testing.assert_array_equal(memory[first:][:LANES], np.arange(1, LANES + 1))


@kernel
def distance(array):
    return elements_to_alignment(simd.pointer(array), LANES, array.itemsize)


@pytest.mark.parametrize("dtype", FLOATS)
def test_elements_to_alignment(dtype):
    memory = np.zeros(3 * LANES, dtype)
    for first in range(LANES + 1):
        count = distance(memory[first:])
        assert 0 <= count < LANES
        assert memory[first + count :].ctypes.data % (LANES * memory.itemsize) == 0


@kernel
def scalar_access(array, at):
    ptr = simd.advance(simd.pointer(array), at)
    simd.store_scalar(ptr, 7)
    return simd.load_scalar(simd.advance(simd.advance(ptr, 1), -1))


@kernel
def first_element(array):
    return simd.load_scalar(simd.pointer(array))


@kernel
def element_at(address):
    return simd.load_scalar(simd.pointer_at(address, simd.f32))


def test_pointer_takes_any_layout_and_readonly_arrays():
    array = np.arange(24.0).reshape(2, 3, 4)
    readonly = array[1:, 1:, 2:]
    readonly.flags.writeable = False
    assert first_element(readonly) == array[1, 1, 2]
    assert first_element(array.T[::-1]) == array[0, 0, 3]
    assert first_element(np.broadcast_to(array[1, 0, :1], (5, 3))) == 12.0
    assert first_element(np.array([True, False]))
    assert scalar_access(array, 5) == 7.0
    assert array.flat[5] == 7.0
    numbers = np.array([2.5], np.float32)
    assert element_at(numbers.ctypes.data) == 2.5


@kernel
def gather_elements(array, at, index, out):
    simd.store(
        simd.pointer(out), simd.gather(simd.advance(simd.pointer(array), at), simd.load(simd.pointer(index), LANES))
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64, np.uint8])
def test_gather_matches_indexing(dtype, index_dtype, rng):
    array = rng.integers(0, 99, 400).astype(dtype)
    index = rng.integers(0, 200, LANES).astype(index_dtype)
    out = np.empty(LANES, dtype)
    gather_elements(array, 150, index, out)
    np.testing.assert_array_equal(out, array[150 + index.astype(np.int64)])
    if index_dtype != np.uint8:
        gather_elements(array, 250, -index, out)
        np.testing.assert_array_equal(out, array[250 - index.astype(np.int64)])


@kernel
def counted_lanes(x):
    one = np.float32(1)
    return (
        simd.reduce_add(simd.broadcast(one, 4)),
        simd.reduce_add(simd.broadcast(one, LANES)),
        simd.reduce_add(simd.broadcast(one, simd.F32_LANES)),
        simd.reduce_add(simd.broadcast(x, simd.F64_LANES)),
        simd.reduce_add(simd.broadcast(1, WIDE, simd.u32)),
    )


def test_lane_counts_are_literals_globals_and_module_attributes():
    assert counted_lanes(2.0) == (4, 8, simd.F32_LANES, 2 * simd.F64_LANES, 2 * simd.F32_LANES)
    assert simd.F32_LANES * 32 == simd.F64_LANES * 64 == simd.VECTOR_BITS


@kernel
def numbered_lanes(out):
    simd.store(simd.pointer(out), simd.convert(simd.iota_i32(LANES), simd.i64) * 100 + simd.iota_i64(LANES))


def test_iota_numbers_the_lanes():
    out = np.empty(LANES, np.int64)
    numbered_lanes(out)
    np.testing.assert_array_equal(out, 101 * np.arange(LANES))


@kernel
def reductions(x):
    vector = simd.load(simd.pointer(x), LANES)
    return simd.reduce_add(vector), simd.reduce_max(vector), simd.reduce_min(vector)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_reductions_add_as_a_tree_of_halves(dtype, rng):
    x = (rng.standard_normal(LANES) * 50).astype(dtype) if dtype in FLOATS else rng.integers(0, 99, LANES).astype(dtype)
    total, largest, smallest = reductions(x)
    half = x[:4] + x[4:]
    quarter = half[:2] + half[2:]
    assert dtype(total) == quarter[0] + quarter[1]
    assert (largest, smallest) == (x.max(), x.min())


@kernel
def moved_around(x, out):
    ptr = simd.cast_pointer(simd.pointer(x), simd.i64)  # the bits of float64 are only carried
    simd.store(simd.pointer(out), simd.rotate(simd.load(ptr, LANES), 3))


def test_rotate_moves_lanes_and_cast_pointer_keeps_bits(rng):
    x, out = rng.standard_normal(LANES), np.empty(LANES, np.int64)
    moved_around(x, out)
    np.testing.assert_array_equal(out.view(np.float64), np.roll(x, -3))


@kernel
def mixed(x, y, bits, out, masked):
    a, b = simd.load(simd.pointer(x), LANES), simd.load(simd.pointer(y), LANES)
    simd.store(simd.pointer(out), simd.interleave(a, b))
    chosen = simd.mask_of_bits(bits, LANES)
    simd.store(simd.pointer(masked), simd.select(chosen, a, b))
    return simd.mask_bits(chosen), simd.mask_bits(a < b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint32])
@pytest.mark.parametrize("bits", [0, 0b10110001, 0xFF, -1, (1 << 62) + 0b1110])
def test_interleave_takes_lanes_in_turn_and_bits_are_masks(dtype, bits, rng):
    x, y = rng.integers(0, 99, (2, LANES)).astype(dtype)
    out, masked = np.empty(2 * LANES, dtype), np.empty(LANES, dtype)
    got, less = mixed(x, y, bits, out, masked)
    np.testing.assert_array_equal(out, np.stack([x, y], axis=1).ravel())
    assert got == bits & 0xFF
    assert less == sum(1 << lane for lane in range(LANES) if x[lane] < y[lane])
    np.testing.assert_array_equal(masked, [x[i] if bits >> i & 1 else y[i] for i in range(LANES)])


def converter(target):
    @kernel
    def convert(x, out):
        simd.store(simd.pointer(out), simd.convert(simd.load(simd.pointer(x), LANES), target))

    return convert


@pytest.mark.parametrize("target", ["f32", "f64", "i32", "i64", "u8", "u32"])
def test_convert_matches_astype(target):
    convert = converter(getattr(simd, target))
    to = np.dtype(target.replace("u8", "u1").replace("32", "4").replace("64", "8"))
    small, signed = [0, 1, 2, 3, 60, 100, 126, 127], [0, -1, 2, -3, 60, -100, 126, -128]
    for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint8, np.uint32, np.int8, np.bool_):
        fits = small if np.dtype(dtype).kind in "ub" or to.kind == "u" else signed
        x = np.array(fits).astype(dtype)
        if np.dtype(dtype).kind == "f":
            x += dtype(0.3)
        out = np.empty(LANES, to)
        convert(x, out)
        np.testing.assert_array_equal(out, x.astype(to), err_msg=str(dtype))


@kernel
def bits_of(x, out):
    simd.store(simd.pointer(out), simd.bitcast(simd.load(simd.pointer(x), LANES), simd.u32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_bitcast_changes_the_lane_count_with_the_width(dtype, rng):
    x = rng.integers(0, 65535, LANES).astype(dtype)
    out = np.zeros(LANES * x.itemsize // 4, np.uint32)
    bits_of(x, out)
    np.testing.assert_array_equal(out, x.view(np.uint32))


@kernel
def twice(vector):
    return vector + vector, vector > 1.0


@kernel
def through_calls_and_tuples(x, many):
    low, high = simd.load(simd.pointer(x), LANES), simd.load(simd.advance(simd.pointer(x), LANES), LANES)
    pair = (low, high)
    if many:
        total, mask = twice(pair[1])
    else:
        total, mask = twice(pair[0])
    for _ in range(3):
        before = total
        total += 1
        total -= 0.5
        total *= 2.0
        total /= 2
        if simd.any_lane(before == total):
            return simd.reduce_add(before)
    return simd.reduce_add(simd.select(mask, total, 0.0))


def test_vectors_pass_through_calls_tuples_branches_and_loops():
    x = np.arange(2.0 * LANES, dtype=np.float32) / 4
    for many in (False, True):
        part = x[LANES:] if many else x[:LANES]
        assert through_calls_and_tuples(x, many) == (2 * part + 1.5)[part > 1].sum()


@kernel
def rounded_and_uncontracted(x, y, z, out):
    a, b, c = simd.load(simd.pointer(x), LANES), simd.load(simd.pointer(y), LANES), simd.load(simd.pointer(z), LANES)
    simd.store(simd.pointer(out), (a + np.float32(2.0**23)) - np.float32(2.0**23))
    simd.store(simd.advance(simd.pointer(out), LANES), a * b - c)
    simd.store(simd.advance(simd.pointer(out), 2 * LANES), (a + b) - a)


def test_fastmath_flags_of_the_kernel_do_not_reach_vectors(rng):
    x, y = rng.random((2, LANES)).astype(np.float32) * 100
    out = np.empty((3, LANES), np.float32)
    rounded_and_uncontracted(x, y, x * y, out)
    np.testing.assert_array_equal(out, [np.round(x), np.zeros(LANES), (x + y) - x])


@kernel
def lanes_from_an_argument(x, lanes):
    return simd.reduce_add(simd.load(simd.pointer(x), lanes))


@kernel
def mixed_dtypes(x, y):
    return simd.reduce_add(simd.load(simd.pointer(x), LANES) + simd.load(simd.pointer(y), LANES))


@needs_jit
def test_lane_count_at_run_time_and_mixed_dtypes_do_not_compile():
    x = np.zeros(LANES, np.float32)
    with pytest.raises(numba.TypingError):
        lanes_from_an_argument(x, LANES)
    with pytest.raises(numba.TypingError):
        mixed_dtypes(x, np.zeros(LANES))
