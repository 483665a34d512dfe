"""What kind of target an array is, and the labels in it, by scikit-learn's rules (`sklearn.utils.multiclass`)."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from fastcore._core.validate import shown
from fastcore._core.validate_containers import as_array, is_sparse

__all__ = [
    "finite",
    "is_indicator",
    "read_target",
    "type_of_distinct",
    "type_of_target",
    "unique_labels",
    "unique_values",
]

# Types that a set of labels may have.
ONE_LABEL = ("binary", "multiclass")


def finite(x: Any, name: str) -> None:
    """Refuse NaN and infinities; of objects only NaN is looked for. Other dtypes cannot hold them."""
    data = x.data if is_sparse(x) else x
    if data.dtype.kind == "O":
        if any(element != element for element in data.flat):
            raise ValueError(
                f"Input {name} contains NaN. Remove or fill missing values." if name else "Input contains NaN"
            )
        return
    if data.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(data)):  # one pass without an array of booleans; a sum that overflows is looked into
            return
    named = f"{name} " if name else ""
    if np.isnan(data).any():
        raise ValueError(f"Input {named}contains NaN.")
    if np.isinf(data).any():
        raise ValueError(f"Input {named}contains infinity or a value too large for {data.dtype!r}.")


def read_target(y: Any, name: str) -> Any:
    """A target as an ndarray of any number of axes, or as the sparse matrix it is; ragged sequences become objects."""
    if type(y) is np.ndarray:
        return as_array(y, name)
    if not (isinstance(y, Sequence) or is_sparse(y) or hasattr(y, "__array__")) or isinstance(y, str):
        raise ValueError(f"Expected array-like (array or non-string sequence), got {shown(y)} for {name or 'y'}.")
    if type(y).__name__ in ("SparseSeries", "SparseArray"):
        raise ValueError(f"{name or 'y'} cannot be class 'SparseSeries' or 'SparseArray'. Pass it with .to_dense().")
    if is_sparse(y):
        if y.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: {name or 'y'} has dtype {y.dtype}.")
        return y.tocsr() if y.format in ("dok", "lil", "dia") else y
    try:
        return as_array(y, name)
    except ValueError as error:
        if str(error).startswith("Complex data"):
            raise
        return np.asarray(y, dtype=object)


def unique_values(y: Any) -> np.ndarray:
    """Distinct values, sorted; of a sparse matrix those it stores."""
    try:
        return np.unique(y.data if is_sparse(y) else y)
    except TypeError as error:
        raise TypeError(f"Labels must be of one kind that can be sorted: {error}. Convert them to str.") from error


def _holds_integers(values: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):
        return values.dtype.kind == "f" and bool((values.astype(np.int64) == values).all())


def has_more_than_two(y: np.ndarray) -> bool:
    """Whether a dense array, not empty, has more than two distinct values (or NaN), without sorting it.

    Of 1e6 integers in 1 ms, where `numpy.unique` takes 40.
    """
    if y.dtype.kind == "b":
        return False
    if y.dtype.kind in "iuf":
        low, high = y.min(), y.max()
        return not ((y == low) | (y == high)).all()
    if y.dtype.kind == "U":
        strings = y.reshape(-1)
        is_other = strings != strings[0]
        return bool((is_other & (strings != strings[is_other.argmax()])).any())
    if y.dtype.kind == "O":
        labels = y.reshape(-1).tolist()
        if {*map(type, labels)} == {str}:
            return len({*labels}) > 2
    return unique_values(y).size > 2


def is_indicator(y: Any) -> bool:
    """Whether `y`, from `read_target`, is (N, L > 1) of at most two integer values, one of them 0 if it is sparse."""
    if y.ndim != 2 or y.shape[1] < 2:
        return False
    if not is_sparse(y):
        if y.dtype.kind not in "biuf" or len(y) == 0:
            return y.dtype.kind in "biuf"
        return not has_more_than_two(y) and (y.dtype.kind != "f" or _holds_integers(np.array([y.min(), y.max()])))
    if y.data.size == 0:
        return True
    values = unique_values(y)
    two = values.size == 1 or (values.size == 2 and 0 in values)
    return bool(two and (y.dtype.kind in "biu" or _holds_integers(values)))


def type_of_target(y: Any, name: str = "") -> str:
    """The kind of target that `y` is.

    Parameters
    ----------
    y : sequence, array, pandas or polars column or frame, or scipy.sparse matrix
    name : what messages call it

    Returns
    -------
    'binary' (at most two values, or none), 'multiclass' (more; floats that are integers count), 'continuous',
    'multilabel-indicator' ((N, L > 1) of at most two values), 'multiclass-multioutput', 'continuous-multioutput', or
    'unknown': three axes, (N, 0), or objects of which the first is no string

    Raises
    ------
    ValueError : no array-like, complex, a sequence of sequences, or a float that is NaN or infinite
    TypeError : bytes, or labels that cannot be compared
    """
    y = read_target(y, name)
    if is_indicator(y):
        return "multilabel-indicator"
    return type_of_distinct(y, None, name)


def type_of_distinct(y: Any, distinct: np.ndarray | None, name: str) -> str:
    """`type_of_target` of what is no indicator.

    ``distinct`` are the distinct values of y; whoever has them saves finding them.
    """
    _refuse_old_formats(y)
    if y.ndim not in (1, 2):
        return "unknown"
    if 0 in y.shape:
        return "binary" if y.ndim == 1 else "unknown"
    if y.dtype.kind == "O" and not isinstance(y.flat[0], str):
        return "unknown"
    many = y.ndim == 2 and y.shape[1] > 1
    suffix = "-multioutput" if many else ""
    if y.dtype.kind == "f":
        values = distinct if distinct is not None else y.data if is_sparse(y) else y
        if not _holds_integers(values):
            finite(values, name)
            return "continuous" + suffix
    if many:
        return "multiclass" + suffix
    if distinct is None and not is_sparse(y):
        return "multiclass" if has_more_than_two(y) else "binary"
    return "multiclass" if (unique_values(y) if distinct is None else distinct).size > 2 else "binary"


def _refuse_old_formats(y: Any) -> None:
    """Labels as bytes, and lists of the labels of each sample."""
    if is_sparse(y) or y.dtype.kind not in "OS" or y.ndim == 0 or len(y) == 0:
        return
    first = y[0]
    if isinstance(first, bytes) or y.dtype.kind == "S":
        raise TypeError(
            "Support for labels represented as bytes is not supported."
            " Convert the labels to a string or integer format."
        )
    if isinstance(first, Sequence) and not isinstance(first, str) and not hasattr(first, "__array__"):
        raise ValueError(
            "You appear to be using a legacy multi-label data representation. Sequence of sequences are no longer"
            " supported; use a binary array or sparse matrix instead - the MultiLabelBinarizer transformer can convert"
            " to this format."
        )


def one_kind_of_labels(*distinct: np.ndarray) -> None:
    """Refuse strings in one array of labels beside numbers in another."""
    first = [isinstance(values.flat[0], str) for values in distinct if values.size]
    if len(set(first)) > 1:
        got = " and ".join(str(values) for values in distinct)
        raise ValueError(f"Mix of label input types (string and number); Got {got}.")


def joined_labels(*distinct: np.ndarray) -> np.ndarray:
    """The sorted union of arrays of distinct labels; strings as fixed-width ones."""
    one_kind_of_labels(*distinct)
    if len({values.dtype for values in distinct}) == 1 and distinct[0].dtype.kind != "O":
        return np.unique(np.concatenate(distinct))
    return np.asarray(sorted(set(chain.from_iterable(distinct))))


def unique_labels(*ys: Any) -> np.ndarray:
    """Sorted labels that occur in any of `ys`; of indicators the numbers of their columns.

    Raises
    ------
    ValueError : no argument, targets of different types, continuous targets, strings mixed with numbers
    """
    if not ys:
        raise ValueError("No argument has been passed.")
    arrays = [read_target(y, "y") for y in ys]
    types = {"multilabel-indicator" if is_indicator(y) else type_of_target(y) for y in arrays}
    if types == {*ONE_LABEL}:
        types = {"multiclass"}
    if len(types) > 1:
        raise ValueError(f"Mix type of y not allowed, got types {types}")
    (kind,) = types
    if kind == "multilabel-indicator":
        if len({y.shape[1] for y in arrays}) > 1:
            raise ValueError("Multi-label binary indicator input with different numbers of labels")
        return np.arange(arrays[0].shape[1])
    if kind not in ONE_LABEL:
        raise ValueError(f"Unknown label type: {kind}. Labels must be discrete: integers, bools or strings.")
    return joined_labels(*(unique_values(y) for y in arrays))
