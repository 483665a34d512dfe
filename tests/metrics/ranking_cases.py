"""Inputs of the ranking tests in all kinds of containers, and the comparison with scikit-learn."""

import warnings

import numpy as np
import pandas as pd
from hypothesis import strategies as st

CONTAINERS = {
    "array": np.asarray,
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "column": lambda x: x.reshape(-1, 1) if x.ndim == 1 else x,
    "series": lambda x: pd.Series(x) if x.ndim == 1 else pd.DataFrame(x),
    "readonly": lambda x: _readonly(x),
}
LABELS = {  # of two classes, and the positive one where it must be given
    "int64": (lambda b: b, None),
    "uint8": (lambda b: b.astype(np.uint8), None),
    "int16": (lambda b: b.astype(np.int16), 1),
    "bool": (lambda b: b.astype(bool), None),
    "float32": (lambda b: b.astype(np.float32), None),
    "plus_minus": (lambda b: 2 * b - 1, None),
    "one_two": (lambda b: b + 1, 2),
    "str": (lambda b: np.array(["no", "yes"])[b], "yes"),
    "object": (lambda b: np.array(["no", "yes"], object)[b], "no"),
    "one": (lambda b: np.ones_like(b), None),
    "zero": (lambda b: np.zeros_like(b), 1),
    "three": (lambda b: b + np.arange(len(b)) % 2, 1),
}
WEIGHTS = {
    "none": lambda rng, n: None,
    "integers": lambda rng, n: rng.integers(0, 4, n),
    "some_zero": lambda rng, n: rng.integers(0, 3, n).astype(np.float64),
    "some_negative": lambda rng, n: rng.integers(-1, 4, n).astype(np.float64),
    "floats": lambda rng, n: rng.random(n),
    "float32": lambda rng, n: rng.random(n, dtype=np.float32),
    "all_zero": lambda rng, n: np.zeros(n),
}
SIZES = (1, 2, 3, 5, 10, 63, 64, 65, 300, 2047, 2048, 2049)

cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "size": st.sampled_from(SIZES),
        "labels": st.sampled_from(sorted(LABELS)),
        "weights": st.sampled_from(sorted(WEIGHTS)),
        "decimals": st.sampled_from((0, 1, 2, 17)),
        "dtype": st.sampled_from(("float64", "float32", "float16", "int64", "int8", "uint64")),
        "containers": st.tuples(*[st.sampled_from(sorted(CONTAINERS))] * 3),
    }
)


def _readonly(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def contained(x, container):
    return None if x is None else CONTAINERS[container](x)


def scores_of(rng, case):
    """Scores with ties, of all signs, of the case's dtype."""
    scores = np.round(rng.normal(0, 2, case["size"]), case["decimals"])
    if case["dtype"].startswith("float"):
        return scores.astype(case["dtype"])
    if case["dtype"] == "uint64":
        return rng.integers(2**63 - 2, 2**63 + 3, case["size"], np.uint64)
    return np.round(3 * scores).astype(case["dtype"])


def probabilities_of(rng, case):
    p = np.round(rng.random(case["size"]), case["decimals"])
    return p.astype(case["dtype"]) if case["dtype"].startswith("float") else np.round(p).astype(case["dtype"])


def outcome(function, *arguments, **options):
    """(value, texts of the warnings) or (error, None)."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            value = function(*arguments, **options)
        except Exception as error:
            return error, None
    return value, sorted({(each.category.__name__, str(each.message)) for each in caught})


def assert_same(ours, theirs, *arguments, tolerance=1e-12, words=24, **options):
    """The same values, warnings, and errors with the same first words."""
    want, their_warnings = outcome(theirs, *arguments, **options)
    got, our_warnings = outcome(ours, *arguments, **options)
    if isinstance(want, Exception):
        assert isinstance(got, ValueError | TypeError | NotImplementedError), f"{got!r} where theirs is {want!r}"
        assert isinstance(want, AttributeError | IndexError) or str(got)[:words] == str(want)[:words]
        return
    if isinstance(got, Exception):
        raise got
    for mine, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, want)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
        assert np.asarray(mine).dtype == np.asarray(other).dtype
    assert our_warnings == [each for each in their_warnings if each[0] != "RuntimeWarning"]
