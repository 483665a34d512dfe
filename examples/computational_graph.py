"""The source's computational graph, F = G * H with G = cos(S), S = x * y, H = 1 / P, P = x + y, differentiated.

python examples/computational_graph.py
python examples/computational_graph.py --x 0.5 --y 3 --points 1000000 --plot computational_graph.png

Prints every node with its value and its adjoint, less the derivative by a complex step and by SymPy, where that is
installed; both paths on which x and y reach F; and how far both partials are from the closed form and from these two on
many points. --plot draws the graph with matplotlib.
"""

import argparse
import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

from fastcore.autodiff import graph, value_and_grad

# Of the partials, against the larger of 1 and their size; four roundings of float64 would be 4.4e-16.
TOLERANCE = 2e-15
STEP = 1e-200  # a complex step has no cancellation, so it can be as small as one likes
LARGEST = 1e100  # of x and y: times the step still next to nothing


def F(x: Any, y: Any) -> Any:
    """The source's function; its local variables are the names of the nodes."""
    S = x * y
    P = x + y
    G = np.cos(S)
    H = 1 / P
    return G * H


# By node, in symbols.
ADJOINTS = {
    "x": "-H sin(S) y - G / P²",
    "y": "-H sin(S) x - G / P²",
    "S": "-H sin(S)",
    "P": "-G / P²",
    "G": "H",
    "H": "G",
    "F": "1",
}


def replaced(given: Mapping[str, Any], cos: Callable[[Any], Any] = np.cos) -> Any:
    """F by its definition, where nodes that are given, x and y at least, are not computed."""
    S = given.get("S", given["x"] * given["y"])
    P = given.get("P", given["x"] + given["y"])
    G = given.get("G", cos(S))
    H = given.get("H", 1 / P)
    return given.get("F", G * H)


def adjoints_by_complex_step(values: Mapping[str, float]) -> dict[str, float]:
    """∂F/∂node of each node: Im F / h, with h i added to what the node is."""
    arguments = {name: values[name] for name in "xy"}
    return {name: replaced(arguments | {name: value + 1j * STEP}).imag / STEP for name, value in values.items()}


def adjoints_by_sympy(values: Mapping[str, float]) -> dict[str, float]:
    """∂F/∂node of each node: F written with the node as a symbol of its own, and derived by it. Empty without SymPy."""
    if find_spec("sympy") is None:
        return {}
    import sympy

    symbols = {name: sympy.Symbol(name) for name in values}
    found = {}
    for name, symbol in symbols.items():
        given = {each: symbols[each] for each in {"x", "y", name}}
        partial = replaced(given, sympy.cos).diff(symbol)
        compute = sympy.lambdify(list(given.values()), partial, "numpy")
        with np.errstate(over="ignore"):  # of P², in the denominator
            found[name] = float(compute(*(values[each] for each in given)))
    return found


class Way(NamedTuple):
    """One way from an argument to F: through which node, in symbols, and its share of the derivative."""

    argument: str
    through: str
    symbols: str
    share: float


def ways(x: float, y: float) -> list[Way]:
    """Both paths of both arguments: the adjoint of S or P, times that node's own derivative."""
    adjoint = graph(F).adjoints(x=x, y=y)
    return [
        Way("x", "S", "-H sin(S) y", adjoint["S"] * y),
        Way("x", "P", "-G / P²", adjoint["P"]),
        Way("y", "S", "-H sin(S) x", adjoint["S"] * x),
        Way("y", "P", "-G / P²", adjoint["P"]),
    ]


def closed_form(x: Any, y: Any) -> tuple[Any, Any]:
    """∂F/∂x and ∂F/∂y as one writes them down."""
    S, P = x * y, x + y
    G, H = np.cos(S), 1 / P
    return -H * np.sin(S) * y - G / P**2, -H * np.sin(S) * x - G / P**2


def complex_step(x: Any, y: Any) -> tuple[Any, Any]:
    """Im F(x + ih, y) / h and Im F(x, y + ih) / h: the derivative to a rounding (Squire and Trapp 1998)."""
    return F(x + 1j * STEP, y).imag / STEP, F(x, y + 1j * STEP).imag / STEP


def symbolic() -> Callable[[Any, Any], tuple[Any, Any]] | None:
    """SymPy's derivatives as a function of arrays; None where it is not installed."""
    if find_spec("sympy") is None:
        return None
    import sympy

    x, y = sympy.symbols("x y")
    formula = sympy.cos(x * y) / (x + y)
    compute: Callable[[Any, Any], tuple[Any, Any]] = sympy.lambdify((x, y), (formula.diff(x), formula.diff(y)), "numpy")
    return compute


def judges() -> dict[str, Callable[[Any, Any], tuple[Any, Any]]]:
    """Other ways to the two partials, by their names."""
    found = {"closed form": closed_form, "complex step": complex_step}
    by_sympy = symbolic()
    return found if by_sympy is None else {**found, "SymPy": by_sympy}


def largest_error(points: int, judge: Callable[[Any, Any], tuple[Any, Any]]) -> float:
    """Of both partials on random points, against the larger of 1 and their size."""
    x, y = np.random.default_rng(0).uniform(0.1, 4.0, (2, points))
    partials = value_and_grad(F)(x, y)[1]
    return max(
        float(np.max(np.abs(got - want) / np.maximum(1.0, np.abs(want)))) for got, want in zip(partials, judge(x, y))
    )


def show_nodes(x: float, y: float) -> bool:
    """Each node with its adjoint, and how far the judges' are from it; whether all of that are roundings."""
    found = graph(F)
    values, adjoints = found.evaluate(x=x, y=y), found.adjoints(x=x, y=y)
    others = {"complex step": adjoints_by_complex_step(values), "SymPy": adjoints_by_sympy(values)}
    others = {name: theirs for name, theirs in others.items() if theirs}
    # Of what is added up for a node: two terms of x and y that nearly cancel leave their roundings.
    size = {name: abs(adjoint) for name, adjoint in adjoints.items()}
    size |= {name: sum(abs(each.share) for each in ways(x, y) if each.argument == name) for name in "xy"}
    right = True
    print(
        f"{'node':6}{'is':10}{'value':>20}{'∂F/∂node':>20}" + "".join(f"{'- ' + name:>16}" for name in others), end=""
    )
    print("   in symbols")
    for node in found.nodes:
        name, adjoint = node.name, adjoints[node.name]
        print(f"{name:6}{node.expression or 'argument':10}{values[name]:20.13g}{adjoint:20.13g}", end="")
        for theirs in others.values():
            difference = adjoint - theirs[name]
            print(f"{difference:16.1e}", end="")
            right &= bool(abs(difference) <= TOLERANCE * max(1.0, size[name]))
        print(f"   {ADJOINTS[name]}")
    print()
    return right


def show_paths(x: float, y: float) -> bool:
    """Both paths and their sum; whether that is what value_and_grad says."""
    partials = value_and_grad(F)(x, y)[1]._asdict()
    right = True
    for argument, partial in partials.items():
        shares = [each for each in ways(x, y) if each.argument == argument]
        for each in shares:
            print(f"∂F/∂{argument} through {each.through}: {each.symbols:12}{each.share:22.15g}")
        total = math.fsum(each.share for each in shares)
        print(f"∂F/∂{argument}, the sum of both:     {partial:22.15g}\n")
        right &= bool(abs(total - partial) <= TOLERANCE * max(1.0, sum(abs(each.share) for each in shares)))
    return right


def show_judges(points: int) -> bool:
    """The largest error on random points; whether all are roundings."""
    right = True
    for name, judge in judges().items():
        error = largest_error(points, judge)
        print(f"against {name:13} on {points:,} points: {error:.1e}")
        right &= error <= TOLERANCE
    return right


def show_time(points: int) -> None:
    """Value and both partials of many points, by us and by NumPy, which is given the closed form."""
    x, y = np.random.default_rng(1).uniform(0.1, 4.0, (2, points))
    derivative = value_and_grad(F)
    for name, call in (("value_and_grad", derivative), ("NumPy", lambda a, b: (F(a, b), closed_form(a, b)))):
        call(x, y)
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            call(x, y)
            seconds.append(time.perf_counter() - start)
        print(f"{name:14} {sorted(seconds)[2] * 1e9 / points:8.2f} ns a point")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The derivatives of a small computational graph.")
    parser.add_argument("--x", type=float, default=1.0, metavar="X", help="(default: %(default)s)")
    parser.add_argument("--y", type=float, default=2.0, metavar="Y", help="(default: %(default)s)")
    parser.add_argument("--points", type=int, default=1_000_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the graph, values and adjoints into it")
    options = parser.parse_args(arguments)
    if options.points < 1:
        parser.error(f"--points must be positive; got {options.points}")
    p = options.x + options.y
    if not max(abs(options.x), abs(options.y)) <= LARGEST or p * p == 0 or math.isinf(1 / (p * p)):
        parser.error(
            f"--x and --y must be within ±{LARGEST:g}, and the square of their sum not 0, since ∂F/∂P divides by it; "
            f"got {options.x}, {options.y}"
        )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 also where a derivative is not what it should be."""
    options = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # "∂" is in few encodings of redirected output
    print("F = G H, G = cos(S), S = x y, H = 1 / P, P = x + y\n")
    right = show_nodes(options.x, options.y)
    right &= show_paths(options.x, options.y)
    right &= show_judges(options.points)
    show_time(options.points)
    if options.plot is not None:
        try:
            graph(F).plot(options.plot, x=options.x, y=options.y)
        except (ImportError, OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        print(f"Written: {options.plot}")
    if not right:
        print("A derivative is not what it should be.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
