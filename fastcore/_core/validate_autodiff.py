"""What a traced function may do, and the arguments of what is made of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from fastcore._core.validate import counted, index, is_float_type, kind_of, shares_memory, shown

_ONCE = "The function is traced once, for all elements at a time."


def refuse_truth() -> NoReturn:
    raise TypeError(
        "a traced value has no truth: 'if', 'while', 'and', 'or', 'not' and chained comparisons would decide for all"
        f" elements at once. {_ONCE} Choose with np.where(condition, a, b), np.maximum, np.minimum or np.clip; combine"
        " conditions with &, | and ~."
    )


def refuse_number(kind: str) -> NoReturn:
    raise TypeError(
        f"a traced value cannot become {kind}: it stands for the elements of an array. {_ONCE} Use NumPy's functions"
        " (np.sin instead of math.sin) and no conversions."
    )


def refuse_array(
    what: str, fix: str = "Sum, index or reshape the arrays that value_and_grad returns, or pass slices as arguments."
) -> NoReturn:
    raise TypeError(
        f"{what} is not possible on a traced value: it stands for one element, and the function is applied to each"
        f" alone. {fix}"
    )


def refuse_function(name: str, known: Sequence[str]) -> NoReturn:
    raise TypeError(f"numpy.{name} of a traced value is not supported. Supported: {', '.join(known)}.")


def refuse_ufunc_options(name: str, options: Sequence[str]) -> NoReturn:
    raise TypeError(f"numpy.{name} of a traced value takes no {', '.join(options)}. Leave it out.")


def refuse_kind_of_operand(operation: str, expected: str, got: str) -> NoReturn:
    fix = "Use np.where(condition, 1.0, 0.0) for numbers." if got == "conditions" else "Compare, for example x != 0.0."
    raise TypeError(f"{operation} takes {expected}. Got {got}. {fix}")


def refuse_constant(x: Any) -> NoReturn:
    raise TypeError(
        f"a traced value can be combined with real numbers and other traced values. Got {shown(x)}."
        " Pass arrays as arguments of the function."
    )


def refuse_other_trace() -> NoReturn:
    raise TypeError(
        "a value of another trace came in, kept from an earlier call or an outer function. Pass it as an argument."
    )


def refuse_result(x: Any) -> NoReturn:
    raise TypeError(
        f"the function must return one real value computed from its arguments. Got {kind_of(x)}. For several results"
        " make one function each, or use jvp."
    )


def refuse_condition(name: str) -> NoReturn:
    raise TypeError(f"{name} must be a number, not a condition. Return np.where(condition, 1.0, 0.0).")


def is_callable(fn: Any, name: str = "fn") -> None:
    if not callable(fn):
        raise TypeError(f"{name} must be a function of arrays. Got {shown(fn)}.")


def number_of_arrays(got: int, expected: int, what: str) -> None:
    if got != expected:
        raise ValueError(f"{what} must be {counted(expected, 'array')}, one for each argument. Got {got}.")


def number(x: Any, name: str) -> float:
    """A Python number as a float; what is beyond float64 is refused."""
    try:
        return float(x)
    except OverflowError:
        raise ValueError(f"{name} must fit into float64. Got {kind_of(x)} beyond its range.") from None


def real_dtype(dtype: np.dtype, name: str) -> None:
    if dtype.kind not in "iub" and not is_float_type(dtype):
        raise TypeError(
            f"{name} must hold real numbers: integers, booleans, float16, float32, float64 or bfloat16. Got {dtype}."
        )


def broadcast_shape(arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(x.shape for x in arrays.values()))
    except ValueError:
        got = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
        raise ValueError(f"the arguments must broadcast against each other, as in NumPy. Got {got}.") from None


def distinct(outs: Sequence[np.ndarray]) -> None:
    for number, out in enumerate(outs):
        if shares_memory(out, outs[:number]):
            raise ValueError("the arrays of out must not overlap each other. Pass an array for each.")


def argument_numbers(argnums: Any) -> int | tuple[int, ...]:
    """`argnums` as an int or a tuple of them."""
    if isinstance(argnums, tuple | list):
        if not argnums:
            raise ValueError("argnums must name an argument. Got none. Leave it out for all.")
        return tuple(index(each, "argnums") for each in argnums)
    return index(argnums, "argnums")


def places_of_arguments(argnums: int | tuple[int, ...] | None, count: int) -> list[int]:
    """Which of ``count`` arguments are differentiated by; negative numbers count from the last."""
    if count == 0:
        raise ValueError("a derivative needs an argument to differentiate by. Got none.")
    if argnums is None:
        return list(range(count))
    places = [argnums] if isinstance(argnums, int) else list(argnums)
    for place in places:
        if not -count <= place < count:
            raise ValueError(f"argnums must number one of the {counted(count, 'argument')}, from 0 on. Got {place}.")
    return [place % count for place in places]


def sequence(x: Any, name: str) -> list[Any]:
    if not isinstance(x, tuple | list):
        raise TypeError(f"{name} must be a tuple of arrays, one for each argument. Got {kind_of(x)}.")
    return list(x)


def outputs(out: Any, count: int, name: str, *, one_alone: bool = False) -> list[Any]:
    """The ``count`` arrays or Nones of ``out``; with ``one_alone`` a single one stands for itself."""
    if out is None:
        return [None] * count
    if one_alone and count == 1 and not isinstance(out, tuple):
        return [out]
    if not isinstance(out, tuple) or len(out) != count:
        raise TypeError(f"{name} must be a tuple of {count}, arrays or None. Got {kind_of(out)}.")
    return list(out)


def refuse_output(function: str) -> NoReturn:
    raise TypeError(f"{function} takes no out.")


def named_arguments(given: Mapping[str, Any], names: Sequence[str]) -> None:
    missing, unknown = [name for name in names if name not in given], [name for name in given if name not in names]
    if missing or unknown:
        got = ", ".join(given) or "none"
        raise TypeError(f"the arguments must be {', '.join(names)}, each by its name. Got {got}.")


def refuse_variable_arguments() -> NoReturn:
    raise TypeError("graph needs a function with a parameter for each argument, not *args. Wrap it in a lambda.")


def numbers_to_draw(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if np.ndim(value):
            raise ValueError(f"plot takes numbers for the arguments. Got an array {np.shape(value)} for {name}.")


def plot_is_missing() -> NoReturn:
    raise ImportError("plot needs matplotlib. Install it with: pip install 'fastcore-kernels[plot]'") from None
