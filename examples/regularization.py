"""L1, L2, dropout and batch norm on real data: what each does, and where nothing is to be seen of it.

python examples/regularization.py
python examples/regularization.py --output regularization --seeds 8 --epochs 40

Linear models of scikit-learn's diabetes set by proximal gradient: the same weights as scikit-learn's Ridge, Lasso and
ElasticNet, and what they are worth on patients held out. Then a network for scikit-learn's digits, trained with the
kernels of fastcore.nn on few images, once for each seed and each way to hold it back; batch norm is merged into the
linear layers for inference. Prints tables, writes regularization.png.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

if TYPE_CHECKING:
    from examples.regularized.digits import Course
    from examples.regularized.linear import Agreement

REQUIREMENTS = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "rich": "rich"}
ALPHAS = (0.1, 1.0, 10.0)
# Of weights, relative to the largest: both stop when steps are a hundredth of this.
TOLERANCE = 1e-7
# Of log probabilities around 1 in float32, after batch norm is merged into the layers.
FOLDED_TOLERANCE = 1e-3


def require() -> None:
    """Raise ModuleNotFoundError if a package is missing; says which, and how to install them."""
    missing = [name for module, name in REQUIREMENTS.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"This example needs {', '.join(missing)}. Install with: pip install -e '.[test]' (in a checkout)"
        )


def run(options: argparse.Namespace) -> "tuple[list[Agreement], dict[str, list[Course]]]":
    """Prints the tables and writes the picture; what is to be checked."""
    # Here, since these modules need what `require` asks for; threadpoolctl comes with scikit-learn.
    from threadpoolctl import threadpool_limits

    from examples.regularized import digits, layout, linear, pictures

    options.output.mkdir(parents=True, exist_ok=True)
    console = layout.console()
    data = linear.load()
    # Products this small gain nothing from a second thread: on a busy machine, waiting for it took 160 s of CPU more.
    with threadpool_limits(1, "blas"):
        agreements = [linear.agreement(data, penalty, alpha) for penalty in linear.PENALTIES for alpha in ALPHAS]
        layout.show_agreements(agreements, console)
        layout.show_scores(linear.compare(data, options.seeds), console)
        courses = digits.train_all(options.epochs, options.seeds)
        layout.show_courses(courses, console)
        file = options.output / "regularization.png"
        pictures.draw(data, courses, file)
    print(f"Written: {file}")
    return agreements, courses


def faults(agreements: "Sequence[Agreement]", courses: "dict[str, list[Course]]") -> list[str]:
    """What is not as it should be."""
    found = [
        f"{each.name} at alpha {each.alpha:g} is not scikit-learn's: {each}"
        for each in agreements
        if not each.difference <= TOLERANCE or each.zeros[0] != each.zeros[1]
    ]
    worst = max(each.folded for plan in courses.values() for each in plan if each.folded == each.folded)
    print(f"Batch norm merged into linear layers changes log probabilities by {worst:.0e} at most.")
    if not worst <= FOLDED_TOLERANCE:
        found.append(f"Networks with batch norm merged differ by {worst:.0e}.")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="L1, L2, dropout and batch norm on real data.")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("regularization"),
        metavar="DIR",
        help="for the picture (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=8, metavar="N", help="splits, and trainings of a network (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=40, metavar="N", help="of a training (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error(f"--seeds must be at least 2, since spreads are shown; got {options.seeds}")
    if options.epochs < 1:
        parser.error(f"--epochs must be positive; got {options.epochs}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 also where a number is not what it should be."""
    options = parse(arguments)
    start = time.perf_counter()
    try:
        require()
        found = faults(*run(options))
    except (ModuleNotFoundError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
