"""The source's computational graph, F = G * H with G = cos(S), S = x * y, H = 1 / P, P = x + y, differentiated.

python examples/computational_graph.py
python examples/computational_graph.py --x 0.5 --y 3 --points 1000000 --plot computational_graph.png

Prints every node with its value and its adjoint, both paths on which x and y reach F, and how far the derivatives are
from the closed form, from complex steps, and from SymPy's where that is installed. --plot draws the graph with
matplotlib.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

from fastcore.autodiff import graph, value_and_grad

# Of the partials, against the larger of 1 and their size; four roundings of float64 would be 4.4e-16.
TOLERANCE = 2e-15
STEP = 1e-200  # a complex step has no cancellation, so it can be as small as one likes


def F(x: Any, y: Any) -> Any:
    """The source's function; its local variables are the names of the nodes."""
    S = x * y
    P = x + y
    G = np.cos(S)
    H = 1 / P
    return G * H


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


def show_nodes(x: float, y: float) -> None:
    found = graph(F)
    values, adjoints = found.evaluate(x=x, y=y), found.adjoints(x=x, y=y)
    print(f"{'node':6}{'is':12}{'value':>22}{'∂F/∂node':>24}")
    for node in found.nodes:
        what = node.expression or "argument"
        print(f"{node.name:6}{what:12}{values[node.name]:22.15f}{adjoints[node.name]:24.15f}")
    print()


def show_paths(x: float, y: float) -> bool:
    """Both paths and their sum; whether that is what value_and_grad says."""
    partials = value_and_grad(F)(x, y)[1]._asdict()
    right = True
    for argument, partial in partials.items():
        shares = [each for each in ways(x, y) if each.argument == argument]
        for each in shares:
            print(f"∂F/∂{argument} through {each.through}: {each.symbols:12}{each.share:22.15f}")
        total = math.fsum(each.share for each in shares)
        print(f"∂F/∂{argument}, the sum of both: {partial:22.15f}\n")
        right &= abs(total - partial) <= TOLERANCE * max(1.0, abs(partial))
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
    if not math.isfinite(options.x + options.y) or options.x + options.y == 0:
        parser.error(f"--x and --y must be finite, and their sum not 0: F divides by it; got {options.x}, {options.y}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 also where a derivative is not what it should be."""
    options = parse(arguments)
    print("F = G H, G = cos(S), S = x y, H = 1 / P, P = x + y\n")
    show_nodes(options.x, options.y)
    right = show_paths(options.x, options.y)
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
