"""The contract on inputs, one table over all public functions: what may come, and what is said of what may not."""

import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.polynomial import Chebyshev

import fastcore
from fastcore import polynomial


class Call(NamedTuple):
    """A function of arrays alone, its usual arguments, and which of them may be complex or are computed in float32."""

    function: Callable[..., Any]
    arguments: dict[str, np.ndarray]
    complex: tuple[str, ...] = ()
    single: tuple[str, ...] = ()  # where the dtype decides the precision: float32 is not float64 rounded


def _inverse(c, y, domain=(0.0, 4.0)):
    return polynomial.inverse(c, domain)(y)


def _table() -> dict[str, Call]:
    rng = np.random.default_rng(11)
    c, rows = rng.standard_normal(6), rng.standard_normal((3, 6))
    x = rng.uniform(-1, 1, (3, 4))
    rising = np.array([0.5, 1.0, 0.25, 0.125])
    line = np.sort(rng.uniform(-1, 1, 30))
    both = ("x", "c")
    # Called by keyword: these are the names of arguments, in the order of numpy.polynomial.
    return {
        "polyval": Call(lambda x, c: polynomial.polyval(x, c), {"x": x, "c": c}, both, both),
        "polyval, derivative": Call(lambda x, c: polynomial.polyval(x, c, derivative=2), {"x": x, "c": c}, both, both),
        "polyval, error_bound": Call(
            lambda x, c: polynomial.polyval(x, c, compensated=True, error_bound=True), {"x": x, "c": c}, both, both
        ),
        "polyder": Call(lambda c: polynomial.polyder(c), {"c": rows}, ("c",), ("c",)),
        "polyval_and_derivative": Call(
            lambda x, c: polynomial.polyval_and_derivative(x, c), {"x": x, "c": c}, both, both
        ),
        "solve": Call(lambda c, y: polynomial.solve(c, y), {"c": rows, "y": np.array([0.5, -1.0, 2.0])}),
        "solve, all": Call(
            lambda c, y: polynomial.solve(c, y, which="all"), {"c": rows, "y": np.array([0.5, -1.0, 2.0])}
        ),
        "solve, x0": Call(
            lambda c, y, x0: polynomial.solve(c, y, x0=x0, method="newton"),
            {"c": rows, "y": np.array([0.5, -1.0, 2.0]), "x0": np.array([0.25, 0.5, -0.5])},
        ),
        "inverse": Call(_inverse, {"c": rising, "y": np.array([[1.0, 2.0, 5.0], [0.75, 3.0, 12.0]])}, (), ("y",)),
        "real_roots": Call(lambda c: polynomial.real_roots(c), {"c": rows}),
        "real_roots, domain": Call(
            lambda c, domain: polynomial.real_roots(c, domain), {"c": rows, "domain": np.array([-2.0, 2.0])}
        ),
        "roots": Call(lambda c: polynomial.roots(c), {"c": rows}, ("c",)),
        "fit": Call(
            lambda x, y, weights: polynomial.fit(x, y, 3, weights=weights),
            {"x": line, "y": np.cos(line), "weights": rng.uniform(1, 2, 30)},
            ("x", "y"),
        ),
    }


JUDGED = ["fit", "inverse", "polyder", "polyval", "polyval_and_derivative", "real_roots", "roots", "solve"]
TABLE = {name: call for name, call in _table().items() if name.split(",")[0] in JUDGED}
ARGUMENTS = [(name, argument) for name, call in TABLE.items() for argument in call.arguments]


def parts(result) -> list[np.ndarray]:
    """A result as arrays."""
    if isinstance(result, tuple):
        return [part for each in result for part in parts(each)]
    if isinstance(result, Chebyshev):
        return [result.coef, result.domain]
    return [] if result is None else [np.asarray(result)]


def assert_same(got, want):
    for mine, other in zip(parts(got), parts(want), strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)


def call(name: str, **changed):
    entry = TABLE[name]
    return entry.function(**{**entry.arguments, **changed})


def whole(array: np.ndarray) -> np.ndarray:
    """Small integers in the place of values, so that every dtype holds them; what must ascend or be positive, is."""
    return np.round(array * 8) / 2


def strided(array):
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan)
    wide[..., ::2] = array
    return wide[..., ::2]


LAYOUTS = {
    "every other": strided,
    "backwards": lambda array: array[..., ::-1].copy()[..., ::-1],
    "Fortran": np.asfortranarray,
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "unaligned": lambda array: np.frombuffer(b"?" + array.tobytes(), array.dtype, array.size, 1).reshape(array.shape),
    "big-endian": lambda array: array.astype(">f8"),
    "list": lambda array: array.tolist(),
    "tuple": lambda array: tuple(array.tolist()),
    "memoryview": lambda array: memoryview(array),
    "subclass": lambda array: array.view(type("Subclass", (np.ndarray,), {})),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name, argument", ARGUMENTS)
def test_every_layout_gives_the_bits_of_a_plain_array(name, argument, layout):
    given = LAYOUTS[layout](TABLE[name].arguments[argument])
    assert_same(call(name, **{argument: given}), call(name))


@pytest.mark.parametrize("name", TABLE)
def test_inputs_are_not_written_and_may_be_readonly(name):
    arguments = {key: array.copy() for key, array in TABLE[name].arguments.items()}
    for array in arguments.values():
        array.flags.writeable = False
    got = call(name, **arguments)
    assert_same(got, call(name))
    for key, array in TABLE[name].arguments.items():
        np.testing.assert_array_equal(arguments[key], array)
    kept = [part.copy() for part in parts(got)]
    for part in parts(got):
        assert not any(np.shares_memory(part, array) for array in arguments.values())
    call(name)  # a second call leaves the first one's result alone
    for part, before in zip(parts(got), kept, strict=True):
        np.testing.assert_array_equal(part, before)


@pytest.mark.parametrize("dtype", ["i1", "i4", "u8", "f2", ">f2", ">i4", "f4"])
@pytest.mark.parametrize("name, argument", ARGUMENTS)
def test_narrow_dtypes_are_as_their_values(name, argument, dtype):
    if dtype in ("f4", "f2", ">f2") and argument in TABLE[name].single:
        pytest.skip("computed in float32: its own tests judge it")
    values = whole(TABLE[name].arguments[argument])
    if dtype[-2] in "iu":
        values = np.round(np.abs(values) + 1 if "u" in dtype else values)
    if argument in ("weights", "x0") or (name == "fit" and argument == "x"):
        values = np.abs(values) + np.arange(values.size)
    if argument == "domain":
        values = np.array([1.0, 2.0])
    narrow = values.astype(dtype)
    np.testing.assert_array_equal(narrow.astype(float), values)
    assert_same(call(name, **{argument: narrow}), call(name, **{argument: values}))


@pytest.mark.parametrize("name", [name for name in TABLE if {"c", "x", "y"} & set(TABLE[name].single)])
def test_float32_gives_float32_near_float64(name):
    entry = TABLE[name]
    narrow = {key: array.astype("f4") for key, array in entry.arguments.items()}
    exact = parts(entry.function(**{key: array.astype(float) for key, array in narrow.items()}))
    got = parts(entry.function(**narrow))
    assert got[0].dtype == np.float32
    np.testing.assert_allclose(got[0], exact[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in TABLE if "c" in TABLE[name].arguments and "fit" not in name])
def test_batches_may_be_empty_or_of_size_1(name):
    entry = TABLE[name]
    others = {key: array for key, array in entry.arguments.items() if key not in ("c", "y", "x0")}
    values = [key for key in ("y", "x0") if key in entry.arguments]
    if entry.arguments["c"].ndim == 1:
        for key in set(entry.arguments) - {"c", "domain"}:
            for shape in [(0,), (2, 0, 3), (1,), (1, 1), ()]:
                one = np.resize(entry.arguments[key], shape)
                shapes = [part.shape for part in parts(call(name, **{key: one})) if part.dtype.kind in "fcib"]
                assert all(got[-len(shape) :] == shape or shape == () for got in shapes), (shapes, shape)
                if one.size:
                    flat = call(name, **{key: one.ravel()})
                    for left, right in zip(parts(call(name, **{key: one})), parts(flat), strict=True):
                        np.testing.assert_array_equal(np.ravel(left), np.ravel(right))
        return
    c = entry.arguments["c"]
    for batch in [(0,), (2, 0), (0, 5), (1,), (1, 1), (3, 1)]:
        many = np.resize(c, (*batch, c.shape[-1]))
        more = {key: np.resize(entry.arguments[key], batch) for key in values}
        got = parts(entry.function(c=many, **more, **others))
        assert all(part.shape[: len(batch)] == batch for part in got), [part.shape for part in got]
        if many.size:
            flat = {key: array.ravel() for key, array in more.items()}
            want = parts(entry.function(c=many.reshape(-1, c.shape[-1]), **flat, **others))
            for left, right in zip(got, want, strict=True):
                np.testing.assert_array_equal(np.ravel(left), np.ravel(right))


@pytest.mark.parametrize("name", TABLE)
def test_not_finite_numbers_raise_nothing_and_warn_of_nothing(name):
    """Except in `fit`, where there is no answer and which says so, naming the argument."""
    for argument, array in TABLE[name].arguments.items():
        if argument == "domain":
            continue
        for value in (np.nan, np.inf, -np.inf):
            bad = array.copy()
            bad.flat[1] = value
            if name == "fit":
                with pytest.raises(ValueError, match=rf"\b{argument}\b"):
                    call(name, **{argument: bad})
            else:
                call(name, **{argument: bad})


WRONG = {
    "objects": np.array([1, None, "x"], object),
    "strings": np.array(["1", "2", "3"]),
    "bytes": np.array([b"1", b"2", b"3"]),
    "dates": np.array(["2020-01-01"] * 3, "datetime64[D]"),
    "a record": np.zeros(3, [("a", float), ("b", float)]),
    "None": None,
    "a string": "123",
    "a dict": {"a": 1.0},
    "ragged": [[1.0], [1.0, 2.0]],
    "masked": np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False]),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name, argument", ARGUMENTS)
def test_what_is_no_array_of_numbers_raises_type_error_naming_the_argument(name, argument, wrong):
    optional = argument in ("x0", "weights", "domain") and WRONG[wrong] is None
    taken = name.startswith("polyval") and argument == "x" and wrong == "masked"
    if optional or taken:
        call(name, **{argument: WRONG[wrong]}) if optional else None
        return
    with pytest.raises(TypeError, match=rf"\b{argument}\b"):
        call(name, **{argument: WRONG[wrong]})


@pytest.mark.parametrize("name, argument", [pair for pair in ARGUMENTS if pair[1] not in TABLE[pair[0]].complex])
def test_complex_where_real_numbers_are_due_raises_type_error_naming_the_argument(name, argument):
    array = TABLE[name].arguments[argument]
    with pytest.raises(TypeError, match=rf"\b{argument}\b"):
        call(name, **{argument: array + 1j})


@pytest.mark.parametrize("name", [name for name in TABLE if "c" in TABLE[name].arguments])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_no_coefficients_raise_value_error_naming_c(name, shape):
    """Of a number `polyder` takes the derivative, as numpy.polynomial does."""
    if (name, shape) == ("polyder", ()):
        assert polynomial.polyder(3.0).tolist() == [0.0]
        return
    with pytest.raises(ValueError, match=r"\bc\b"):
        call(name, c=np.zeros(shape))


def present(cases):
    return [case for case in cases if case[0] in JUDGED]


C = np.array([1.0, -3.0, 0.5, 2.0])
WRONG_OPTIONS = present(
    [
        ("polyval", (0.5, C), {"derivative": -1}, ValueError, "derivative"),
        ("polyval", (0.5, C), {"derivative": 1.5}, TypeError, "derivative"),
        ("polyval", (0.5, C), {"derivative": "1"}, TypeError, "derivative"),
        ("polyval", (0.5, C), {"compensated": 1}, TypeError, "compensated"),
        ("polyval", (0.5, C), {"error_bound": "yes"}, TypeError, "error_bound"),
        ("polyder", (C, -1), {}, ValueError, "m"),
        ("polyder", (C, 0.5), {}, TypeError, "m"),
        ("polyder", (C,), {"axis": 1}, ValueError, "axis"),
        ("polyder", (C,), {"axis": 0.5}, TypeError, "axis"),
        ("polyder", (C,), {"scl": "2"}, TypeError, "scl"),
        ("solve", (C,), {"which": "first"}, ValueError, "which"),
        ("solve", (C,), {"which": 3}, TypeError, "which"),
        ("solve", (C,), {"method": "secant"}, ValueError, "method"),
        ("solve", (C,), {"method": None}, TypeError, "method"),
        ("solve", (C,), {"xtol": -1.0}, ValueError, "xtol"),
        ("solve", (C,), {"xtol": np.nan}, ValueError, "xtol"),
        ("solve", (C,), {"xtol": "1"}, TypeError, "xtol"),
        ("solve", (C,), {"ytol": -1.0}, ValueError, "ytol"),
        ("solve", (C,), {"ytol": np.nan}, ValueError, "ytol"),
        ("solve", (C,), {"max_iterations": 0}, ValueError, "max_iterations"),
        ("solve", (C,), {"max_iterations": 2.5}, TypeError, "max_iterations"),
        ("solve", (C,), {"domain": (1, 0)}, ValueError, "domain"),
        ("solve", (C,), {"domain": (0, 1, 2)}, ValueError, "domain"),
        ("solve", (C,), {"domain": (0, np.nan)}, ValueError, "domain"),
        ("solve", (C,), {"domain": "ab"}, TypeError, "domain"),
        ("solve", (np.ones((3, 4)), np.ones(2)), {}, ValueError, "y"),
        ("solve", (np.ones((3, 4)), 0.0), {"x0": np.ones(2)}, ValueError, "x0"),
        ("inverse", (C, (1, 0)), {}, ValueError, "domain"),
        ("inverse", (C, (0, 1, 2)), {}, ValueError, "domain"),
        ("inverse", (C, (np.nan, 1)), {}, ValueError, "domain"),
        ("inverse", (C, "ab"), {}, TypeError, "domain"),
        ("inverse", (np.ones((2, 3)), (0, 1)), {}, ValueError, "c"),
        ("real_roots", (C, (1, 0)), {}, ValueError, "domain"),
        ("real_roots", (C, 1.0), {}, ValueError, "domain"),
        ("real_roots", (C, (0, np.nan)), {}, ValueError, "domain"),
        ("real_roots", (C, "ab"), {}, TypeError, "domain"),
        ("roots", (C,), {"polish": 1}, TypeError, "polish"),
        ("roots", (C,), {"polish": None}, TypeError, "polish"),
        ("fit", ([1.0], [1.0], -1), {}, ValueError, "degree"),
        ("fit", ([1.0], [1.0], 1.5), {}, TypeError, "degree"),
        ("fit", ([1.0], [1.0], "1"), {}, TypeError, "degree"),
        ("fit", ([1.0], [1.0], []), {}, TypeError, "degree"),
        ("fit", ([1.0], [1.0, 2.0], 0), {}, ValueError, "y"),
        ("fit", ([1.0], [1.0], 0), {"weights": [1.0, 2.0]}, ValueError, "weights"),
        ("fit", ([1.0, 2.0], [1.0, 2.0], 1), {"domain": (1, 0)}, ValueError, "domain"),
        ("fit", ([1.0, 2.0], [1.0, 2.0], 1), {"domain": (0, np.nan)}, ValueError, "domain"),
        ("fit", ([1.0, 2.0], [1.0, 2.0], 1), {"domain": "ab"}, TypeError, "domain"),
    ]
)


@pytest.mark.parametrize("name, arguments, options, kind, named", WRONG_OPTIONS)
def test_wrong_options_raise_an_error_that_names_them(name, arguments, options, kind, named):
    with pytest.raises(kind, match=rf"\b{named}\b"):
        getattr(polynomial, name)(*arguments, **options)


def _large(rng) -> dict[str, Callable[[], Any]]:
    """Enough work for more than one thread."""
    x, c = rng.uniform(-1, 1, 400_003), rng.standard_normal(31)
    rows, y = rng.standard_normal((3001, 11)), rng.uniform(0.5, 12, 200_003)
    rising = np.array([0.5, 1.0, 0.25, 0.125])
    return {
        "polyval": lambda: polynomial.polyval(x, c),
        "polyval, error_bound": lambda: polynomial.polyval(x, c, compensated=True, error_bound=True),
        "polyval_and_derivative": lambda: polynomial.polyval_and_derivative(x, c),
        "polyder": lambda: polynomial.polyder(rows),
        "solve": lambda: polynomial.solve(rows, 0.25),
        "solve, all": lambda: polynomial.solve(rows, 0.25, which="all"),
        "solve, many y": lambda: polynomial.solve(rows[0], y),
        "inverse": lambda: polynomial.inverse(rising, (0, 4))(y),
        "inverse, float32": lambda: polynomial.inverse(rising, (0, 4))(y.astype("f4")),
        "real_roots": lambda: polynomial.real_roots(rows),
        "roots": lambda: polynomial.roots(rows),
        "fit": lambda: polynomial.fit(x, np.cos(x), 7),
    }


@pytest.mark.parametrize("name", [name for name in _large(np.random.default_rng()) if name.split(",")[0] in JUDGED])
def test_one_thread_gives_the_bits_of_many(rng, name):
    function = _large(rng)[name]
    with fastcore.num_threads(1):
        serial = function()
    assert_same(function(), serial)


BROADCAST = [
    ("polyval", lambda wide: polynomial.polyval(wide, [1.0, 2.0, 3.0])),
    ("polyval", lambda wide: polynomial.polyval(wide.view("i8"), [1.0, 2.0, 3.0], derivative=1)),
    ("polyval", lambda wide: polynomial.polyval(wide, [1.0, 2.0, 3.0], compensated=True, error_bound=True)),
    ("polyval_and_derivative", lambda wide: polynomial.polyval_and_derivative(wide, [1.0, 2.0, 3.0])),
]


@pytest.mark.parametrize("name, function", present(BROADCAST))
def test_broadcast_values_are_not_copied(name, function):
    """A million values with a stride of 0: beside the results no array of that size."""
    wide = np.broadcast_to(np.float64(0.75), (1 << 18,))
    function(wide)
    tracemalloc.start()
    try:
        results = parts(function(wide))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < sum(part.nbytes for part in results) + wide.nbytes / 2
    # The same values, in memory of their own.
    for broadcast, plain in zip(results, parts(function(wide.copy())), strict=True):
        np.testing.assert_array_equal(broadcast, plain)


@pytest.mark.peer
@pytest.mark.parametrize("name, argument", ARGUMENTS)
def test_torch_tensors_give_the_bits_of_arrays(name, argument):
    torch = pytest.importorskip("torch")
    array = TABLE[name].arguments[argument]
    assert_same(call(name, **{argument: torch.tensor(array)}), call(name))
    # The benchmarks' peers switch gradients off for the process; torch then gives such tensors away.
    with torch.enable_grad(), pytest.raises(TypeError, match=rf"(?s)\b{argument}\b.*detach"):
        call(name, **{argument: torch.tensor(array, requires_grad=True)})
