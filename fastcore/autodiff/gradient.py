"""Derivatives of functions of arrays, element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcore._core import validate_autodiff as check
from fastcore.autodiff.arrays import evaluate, evaluate_quickly
from fastcore.autodiff.derivatives import adjoints
from fastcore.autodiff.node import Node
from fastcore.autodiff.program import Compiled, assemble
from fastcore.autodiff.trace import Form, Trace, name_of, record

__all__ = ["grad", "hessian", "jvp", "value_and_grad"]

_Argnums = int | Sequence[int] | None


class _Derivative:
    """A function made of a function; what it computes is traced once for each form of call and then kept."""

    kind = ""

    def __init__(self, fn: Callable[..., Any], argnums: _Argnums) -> None:
        check.is_callable(fn)
        self.__wrapped__ = fn
        self.__name__ = f"{self.kind}_{name_of(fn)}"
        self.__doc__ = f"{self.kind} of {name_of(fn)}."
        self._argnums = argnums if argnums is None else check.argument_numbers(argnums)
        self._plans: dict[Any, _Plan] = {}

    def __repr__(self) -> str:
        return f"{self.kind}({name_of(self.__wrapped__)})"

    def _plan(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Plan:
        key = (len(args), *kwargs) if kwargs else len(args)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _Plan(self._argnums, Form(self.__wrapped__, len(args), tuple(kwargs)))
        return plan

    def _compiled(self, plan: _Plan) -> Compiled:
        if plan.compiled is None:
            trace = Trace(self.__wrapped__, plan.form)
            plan.compiled = assemble(trace.inputs, self.nodes(trace, plan.wanted_of(trace)))
        return plan.compiled

    def nodes(self, trace: Trace, wanted: Sequence[Node]) -> list[Node]:
        """What it computes."""
        raise NotImplementedError

    def packed(self, results: Sequence[Any], pack: Callable[[Sequence[Any]], Any]) -> Any:
        """What it returns."""
        raise NotImplementedError

    def unpacked(self, out: Any, count: int) -> list[Any]:
        """The arrays of ``out``, of the form of what it returns."""
        raise NotImplementedError

    def __reduce__(self) -> Any:
        return type(self), (self.__wrapped__, self._argnums)

    def __call__(self, /, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        if not kwargs and out is None:
            known = self._plans.get(len(args))
            if known is not None and known.compiled is not None:
                quick = evaluate_quickly(known.compiled, args)
                if quick is not None:
                    return self.packed(quick, known.pack)
        plan = self._plan(args, kwargs)
        values = plan.form.values(args, kwargs)
        if any(isinstance(each, Node) for each in values):
            if out is not None:
                check.refuse_output(f"{self.kind} of traced values")
            return self._inside_trace(plan, values)
        outs = None if out is None else self.unpacked(out, plan.count)
        results = evaluate(self._compiled(plan), plan.form.names, values, outs)
        return self.packed(results if out is not None else _as_scalars(results), plan.pack)

    def _inside_trace(self, plan: _Plan, values: Sequence[Any]) -> Any:
        """The nodes of a derivative that a traced function asks for."""
        tape = next(each.tape for each in values if isinstance(each, Node))
        # On the same tape, so that the function may use values of the one around it.
        inner = Trace(self.__wrapped__, plan.form, tape)
        nodes = self.nodes(inner, plan.wanted_of(inner))
        return self.packed(tape.substituted(nodes, inner.inputs, values), plan.pack)


class _Plan:
    """All that does not depend on the arrays, for one form of call."""

    def __init__(self, argnums: int | tuple[int, ...] | None, form: Form) -> None:
        self.form = form
        count = len(form.names)
        self.places = check.places_of_arguments(argnums, count)
        self.count = len(self.places)
        names = tuple(form.names[place] for place in self.places)
        self.pack: Callable[[Sequence[Any]], Any]
        if isinstance(argnums, int) or (argnums is None and count == 1):
            self.pack = lambda values: values[0]
        else:
            self.pack = tuple if argnums is not None else record(names)._make
        self.compiled: Compiled | None = None

    def wanted_of(self, trace: Trace) -> list[Node]:
        return [trace.inputs[place] for place in self.places]


def _as_scalars(results: Sequence[np.ndarray]) -> Sequence[Any]:
    return results if results[0].ndim else [each[()] for each in results]


def _gradient(output: Node, wanted: Sequence[Node]) -> list[Node]:
    zero = output.tape.constant(0.0)
    return [zero if each is None else each for each in adjoints(output, wanted)]


class _Gradient(_Derivative):
    kind = "grad"

    def nodes(self, trace: Trace, wanted: Sequence[Node]) -> list[Node]:
        return _gradient(trace.result, wanted)

    def packed(self, results: Sequence[Any], pack: Callable[[Sequence[Any]], Any]) -> Any:
        return pack(results)

    def unpacked(self, out: Any, count: int) -> list[Any]:
        return check.outputs(out, count, "out", one_alone=True)


class _ValueAndGradient(_Derivative):
    kind = "value_and_grad"

    def nodes(self, trace: Trace, wanted: Sequence[Node]) -> list[Node]:
        return [trace.result, *_gradient(trace.result, wanted)]

    def packed(self, results: Sequence[Any], pack: Callable[[Sequence[Any]], Any]) -> Any:
        return results[0], pack(results[1:])

    def unpacked(self, out: Any, count: int) -> list[Any]:
        value, partials = check.outputs(out, 2, "out")
        return [value, *check.outputs(partials, count, "out[1]", one_alone=True)]


class _Hessian(_Derivative):
    """Of the two equal halves one is computed; both names give the same array."""

    kind = "hessian"

    def nodes(self, trace: Trace, wanted: Sequence[Node]) -> list[Node]:
        first = _gradient(trace.result, wanted)
        return [node for i, each in enumerate(first) for node in _gradient(each, wanted[i:])]

    def packed(self, results: Sequence[Any], pack: Callable[[Sequence[Any]], Any]) -> Any:
        size = next(n for n in range(len(results) + 1) if n * (n + 1) // 2 == len(results))
        rest = iter(results)
        rows: list[list[Any]] = [[None] * size for _ in range(size)]
        for i in range(size):
            for j in range(i, size):
                rows[i][j] = rows[j][i] = next(rest)
        return pack([pack(row) for row in rows])

    def unpacked(self, out: Any, count: int) -> list[Any]:
        check.refuse_output("hessian")


def value_and_grad(fn: Callable[..., Any], argnums: _Argnums = None) -> Callable[..., Any]:
    """A function that computes ``fn`` and its partial derivatives, element by element, in one pass over memory.

    The first call traces ``fn`` with stand-ins for its arguments, differentiates the graph in reverse mode, and
    compiles value and partials into one SIMD kernel; later calls run that. Kernels are kept on disk, and shared by all
    functions that compute the same.

    Parameters
    ----------
    fn : function of arrays or numbers that returns one real value
        Made of + - * / **, comparisons, &, |, ~, NumPy's elementwise functions (np.exp, np.sin, np.where, np.maximum,
        np.clip ...), numbers, and functions made of these. It is called once: values of outer variables are those of
        that moment, and parameters that a call leaves at their default are constants.
    argnums : int or tuple of ints, optional; the arguments to differentiate by, all where left out

    Returns
    -------
    callable(*arrays, out=None) -> (value, partials)
        Arguments broadcast against each other, by position or by keyword: arrays of any strides (copied where the last
        axis is not contiguous), anything with ``__array__``, numbers. float32 and float64 are computed in themselves,
        float16 and bfloat16 in float32 and rounded once, integers and booleans in float64; numbers take the dtype of
        the arrays. Value and partials have the broadcast shape and the common dtype.

        partials : of one argument its array, of several a named tuple with the arguments' names; with ``argnums`` an
        int one array, a tuple a tuple. Up to 32 MiB in all they and value are parts of one block of memory.
        ``out``: (array, arrays) of that form, or None in the place of any, written in place and returned.

    Raises
    ------
    TypeError : fn is not callable, decides on a traced value (``if x > 0``), uses what is not elementwise, or returns
        something else; an argument holds no real numbers, or is masked
    ValueError : shapes do not broadcast; argnums or out do not fit

    Notes
    -----
    Outside a function's domain the result is NaN or infinite, as NumPy's, without a warning. abs has derivative 0 at 0;
    equal arguments of maximum and minimum get half each, as in JAX; the branch that `where` does not take gets exactly
    0, whatever its own derivative is. Whole powers up to 16 are products.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcore.autodiff import value_and_grad
    >>> value, partials = value_and_grad(lambda x, y: np.cos(x * y) / (x + y))(1.0, 3.0)
    >>> float(partials.x)
    -0.04396...
    """
    return _ValueAndGradient(fn, argnums)


def grad(fn: Callable[..., Any], argnums: _Argnums = None) -> Callable[..., Any]:
    """The partial derivatives alone; see `value_and_grad`."""
    return _Gradient(fn, argnums)


def hessian(fn: Callable[..., Any], argnums: _Argnums = None) -> Callable[..., Any]:
    """The second partial derivatives, element by element: ``hessian(f)(x, y).x.y`` is d2f / dx dy.

    Parameters and arguments as those of `value_and_grad`, without ``out``.

    Returns
    -------
    callable(*arrays) -> a named tuple of named tuples; of one argument an array, with ``argnums`` as there. Equal
        halves are computed once and are the same array: h.x.y is h.y.x.
    """
    return _Hessian(fn, argnums)


def jvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of ``fn`` and its derivative in the direction of ``tangents``, as `jax.jvp` returns them.

    Parameters
    ----------
    fn : as in `value_and_grad`; may return a tuple. Traced at every call; kernels are kept.
    primals, tangents : tuple of arrays, one each for every argument; all broadcast against each other

    Returns
    -------
    (value, tangent); for a function that returns a tuple, tuples

    Raises
    ------
    TypeError, ValueError : as `value_and_grad`; numbers of primals and tangents differ
    """
    check.is_callable(fn)
    primals, tangents = check.sequence(primals, "primals"), check.sequence(tangents, "tangents")
    check.number_of_arrays(len(tangents), len(primals), "tangents")
    given = [*primals, *tangents]
    tape = next((each.tape for each in given if isinstance(each, Node)), None)
    traced = Trace(fn, Form(fn, len(primals), ()), tape)
    directions = [traced.tape.input(f"tangent of {name}") for name in traced.form.names]
    slopes = [_directional(output, traced.inputs, directions) for output in traced.results]
    inputs, nodes = [*traced.inputs, *directions], [*traced.results, *slopes]
    results: Sequence[Any]
    if tape is None:
        results = _as_scalars(evaluate(assemble(inputs, nodes), [str(each.value) for each in inputs], given))
    else:  # part of another function that is being traced
        results = tape.substituted(nodes, inputs, given)
    values, derivatives = results[: len(slopes)], results[len(slopes) :]
    if traced.kind is None:
        return values[0], derivatives[0]
    return traced.kind(values), traced.kind(derivatives)


def _directional(output: Node, inputs: Sequence[Node], directions: Sequence[Node]) -> Node:
    """Sum of partial times direction, over what output depends on."""
    terms = [each * to for each, to in zip(adjoints(output, inputs), directions) if each is not None]
    total = output.tape.constant(0.0) if not terms else terms[0]
    for term in terms[1:]:
        total = total + term
    return total
