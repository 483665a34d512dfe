"""The shared checks of metrics against scikit-learn's own."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.utils import multiclass, validation

from fastcore._core import validate_targets as checks
from fastcore._core.validate_labels import has_more_than_two

TARGETS = {
    "list of int": [0, 1, 1],
    "tuple": (0, 1, 2),
    "empty": [],
    "bools": [True, False],
    "strings": ["a", "b"],
    "three strings": ["a", "b", "c"],
    "objects": np.array(["a", "b", "c"], object),
    "object ints": np.array([1, 2], object),
    "mixed objects": np.array(["a", 1], object),
    "integral floats": [0.0, 1.0, 2.0],
    "floats": [0.5, 1.0],
    "float16": np.array([0, 1, 3], np.float16),
    "nan": [0.0, np.nan],
    "inf": [0.0, np.inf],
    "column": [[1], [2], [3]],
    "row": [[1, 2, 3]],
    "indicator": [[0, 1], [1, 0]],
    "indicator of 5 and 7": [[5, 7], [7, 5]],
    "float indicator": [[0.0, 1.0], [1.0, 0.0]],
    "bool indicator": np.array([[True, False], [False, True]]),
    "multioutput": [[0, 1], [2, 3]],
    "continuous multioutput": [[0.5, 1], [2, 3]],
    "string multioutput": np.array([["a", "b"], ["c", "d"]]),
    "no columns": [[]],
    "three axes": np.zeros((2, 2, 2)),
    "ragged": [[1, 2], [3]],
    "bytes": [b"a", b"b"],
    "bytes array": np.array([b"a", b"b"]),
    "str": "abc",
    "dict": {"a": 1},
    "complex": [1j, 2],
    "csr": sparse.csr_matrix([[0, 1], [1, 0]]),
    "csc of floats": sparse.csc_array(np.array([[0.0, 1.5], [1, 0]])),
    "lil": sparse.lil_matrix([[0, 1], [1, 0]]),
    "empty csr": sparse.csr_matrix((3, 2)),
    "csr column": sparse.csr_matrix([[1], [0]]),
    "csr multioutput": sparse.csr_matrix([[1, 2], [0, 3]]),
    "series": pd.Series([1, 2, 3]),
    "categorical": pd.Series(["a", "b", "a"], dtype="category"),
    "nullable": pd.array([1, 0, 1], dtype="Int64"),
    "missing": pd.array([1, 0, None], dtype="Int64"),
    "nullable bool": pd.array([True, False], dtype="boolean"),
    "pandas strings": pd.Series(["a", "b"]),
    "frame": pd.DataFrame({"a": [0, 1], "b": [1, 0]}),
    "mixed frame": pd.DataFrame({"a": [True, False], "b": [1, 0]}),
    "big endian": np.array([0, 1, 2], ">i4"),
    "dates": np.array(["2020-01-01", "2020-01-02"], "M8[D]"),
}
# Frames of pandas only look like sequences to scikit-learn: they are arrays to both.
OTHER_WORDS = {"str", "dict", "complex", "mixed objects"}


def outcome(function, *arguments):
    """What a call returns, or the kind and first words of what it raises."""
    try:
        with np.errstate(invalid="ignore"):  # scikit-learn casts NaN to integers
            return function(*arguments)
    except (TypeError, ValueError) as error:
        return type(error), str(error)[:24]


@pytest.mark.parametrize("name", TARGETS)
def test_type_of_target_is_scikit_learns(name):
    y = TARGETS[name]
    expected, got = outcome(multiclass.type_of_target, y), outcome(checks.type_of_target, y)
    if name in OTHER_WORDS:
        assert got[0] is expected[0]
    else:
        assert got == expected


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("other", ["list of int", "three strings", "indicator", "integral floats"])
def test_unique_labels_are_scikit_learns(name, other):
    ys = TARGETS[other], TARGETS[name]
    if name in {"column", "csr column"}:  # ours are labels; scikit-learn's sets cannot hold rows
        ys = TARGETS[other], np.ravel(np.asarray([1, 2, 3]))
    expected, got = outcome(multiclass.unique_labels, *ys), outcome(checks.unique_labels, *ys)
    if isinstance(expected, tuple):
        assert issubclass(got[0], expected[0])
    else:
        np.testing.assert_array_equal(got, expected)
        assert got.dtype.kind == expected.dtype.kind


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in {"str", "dict"}])
def test_vector_is_column_or_1d(name):
    y = TARGETS[name]
    expected = outcome(lambda: validation.column_or_1d(y))
    got = outcome(lambda: checks.vector(y, "y", numeric=False, may_be_empty=True))
    if isinstance(expected, tuple):
        assert got[0] is expected[0]
    else:
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype.newbyteorder("=")


def test_vector_reads_in_place():
    y = np.arange(6)[::2]
    assert checks.vector(y, "y") is y
    column = np.arange(6.0).reshape(-1, 1)
    assert np.shares_memory(checks.vector(column, "y"), column)
    assert checks.vector([1, 2], "y").dtype == np.int64
    assert checks.vector(np.array([1, 2.5], object), "y").dtype == np.float64


@pytest.mark.parametrize(
    "y, kind, words",
    [
        ([], ValueError, "Found array with 0 sample"),
        (["a"], ValueError, "dtype='numeric' is not compatible"),
        (np.array(["a"], object), ValueError, "y must hold numbers: could not convert"),
        (np.zeros((2, 2)), ValueError, r"y should be a 1d array, got an array of shape \(2, 2\) instead"),
        (3.0, ValueError, r"y should be a 1d array, got an array of shape \(\) instead"),
        (sparse.csr_matrix([[1]]), TypeError, "Sparse data was passed for y, but dense data is required"),
        (np.ma.masked_array([1, 2], [0, 1]), TypeError, "mask would be ignored"),
        (np.matrix([[1]]), TypeError, "np.matrix is not supported"),
    ],
)
def test_vector_refuses(y, kind, words):
    with pytest.raises(kind, match=words):
        checks.vector(y, "y")


@pytest.mark.parametrize(
    "x, words",
    [
        ([1.0], "Expected 2D array, got 1D array instead"),
        (1.0, "Expected 2D array, got scalar array instead"),
        (np.zeros((2, 2, 2)), "Found array with dim 3"),
        (np.zeros((0, 2)), r"Found array with 0 sample\(s\) \(shape=\(0, 2\)\)"),
        (np.zeros((2, 0)), r"Found array with 0 feature\(s\) \(shape=\(2, 0\)\)"),
    ],
)
def test_matrix_refuses(x, words):
    with pytest.raises(ValueError, match=words):
        checks.matrix(x, "x")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_finite_names_what_it_found(dtype):
    checks.finite(np.full(3, np.finfo(dtype).max, dtype), "x")  # the sum overflows, the values do not
    with pytest.raises(ValueError, match=r"^Input x contains NaN\.$"):
        checks.finite(np.array([np.inf, np.nan], dtype), "x")
    with pytest.raises(ValueError, match=r"^Input contains infinity or a value too large for dtype\('float"):
        checks.finite(np.array([np.inf, -np.inf], dtype), "")


def test_same_lengths_skips_none():
    checks.same_lengths([1, 2], None, np.zeros((2, 3)), pd.Series([1, 2]), sparse.csr_matrix((2, 5)))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 4\]"):
        checks.same_lengths([1, 2, 3], None, np.zeros(4))
    for wrong in (3, np.array(3), "ab", object()):
        with pytest.raises(checks.InvalidParameterError):
            checks.same_lengths(wrong)


WEIGHTS = [None, 2, 0.5, [1, 2, 3], np.array([1, 2, 3], np.float32), [1, 2], [[1], [2], [3]], [0, 0, 0], 0]
WEIGHTS += [[1, np.nan, 2], ["a", "b", "c"], [-1, 1, 0], [True, False, True], np.array([1, 2, 3], np.float16)]


@pytest.mark.parametrize("w", WEIGHTS, ids=str)
@pytest.mark.parametrize("may_be_negative", [True, False])
def test_sample_weights_are_scikit_learns(w, may_be_negative):
    def theirs():
        return validation._check_sample_weight(w, np.zeros(3), dtype=float, ensure_non_negative=not may_be_negative)

    expected = outcome(theirs)
    got = outcome(lambda: checks.sample_weights(w, 3, may_be_negative=may_be_negative))
    if isinstance(expected, tuple):
        assert got[0] is expected[0]
        assert got[1][:14] == expected[1][:14] or w == ["a", "b", "c"]
    else:
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == np.float64


def test_sample_weights_may_keep_their_dtype():
    assert checks.sample_weights([1, 2], 2, None).dtype == np.int64
    assert checks.sample_weights(np.ones(2, np.float32), 2, None).dtype == np.float32


def test_options_are_named_in_errors():
    assert checks.option(None, "average", ("micro", None), "f1_score") is None
    assert checks.option(np.str_("micro"), "average", ("micro", None), "f1_score") == "micro"
    words = (
        r"The 'average' parameter of f1_score must be a str among \{'micro', 'macro'\} or None\. Got 'all' instead\."
    )
    for error in (ValueError, TypeError):
        with pytest.raises(error, match=words):
            checks.option("all", "average", ("micro", "macro", None), "f1_score")
    with pytest.raises(ValueError, match=r"a float in the range \(0.0, 1.0\]\. Got 2 instead"):
        checks.real(2, "max_fpr", 0.0, 1.0, "roc_auc_score", closed="right")
    for wrong in (np.nan, "1", None, -1, 10**400):
        with pytest.raises(checks.InvalidParameterError):
            checks.real(wrong, "beta", 0, None, "fbeta_score")
    assert checks.real(np.float32(0.5), "beta", 0, None, "fbeta_score") == 0.5
    with pytest.raises(ValueError, match=r"an int in the range \[1, inf\)\. Got 1.5"):
        checks.real(1.5, "n", 1, None, "f", closed="left", kind="int")
    with pytest.raises(ValueError, match="an instance of 'bool'"):
        checks.boolean(1, "normalize", "accuracy_score")


@pytest.mark.parametrize("kind", [int, bool, float, np.float16, np.uint64, str, object])
@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 0, 1], [0, 1, 2], [1, 0, 1, 2], [2, 2, 1, 1, 0]], ids=str)
def test_has_more_than_two_is_what_unique_says(kind, labels):
    y = np.array([str(label) for label in labels], kind) if kind in (str, object) else np.array(labels, kind)
    expected = len(np.unique(y)) > 2
    assert has_more_than_two(y) == has_more_than_two(np.stack([y, y])) == expected
    assert has_more_than_two(np.repeat(y, 3)[::3]) == expected
