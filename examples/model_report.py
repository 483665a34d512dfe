"""Every metric on real models, with intervals, beside scikit-learn's numbers and a known effect.

python examples/model_report.py
python examples/model_report.py --output report --resamples 200 --seed 1

Gradient boosting on scikit-learn's breast-cancer and diabetes sets, k-means on its digits, and two models of a
simulated campaign whose effect is known. Prints tables, writes roc.png, lift.png, uplift.png and silhouette.png.
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
    from examples.report.measures import Row, Settings, Table

REQUIREMENTS = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "rich": "rich"}
# scikit-learn's own rounding is of this size at most.
TOLERANCE = 1e-10


def require() -> None:
    """Raise ModuleNotFoundError if a package is missing; says which, and how to install them."""
    missing = [name for module, name in REQUIREMENTS.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"This example needs {', '.join(missing)}. Install with: pip install -e '.[test]' (in a checkout)"
        )


def report(settings: "Settings", output: Path) -> "tuple[list[Table], list[Path]]":
    """All tables, and the pictures written."""
    # Here, since these modules need what `require` asks for.
    from examples.report import classification, clustering, pictures, regression, uplift

    output.mkdir(parents=True, exist_ok=True)
    tumours = classification.predict(settings)
    clusters = clustering.cluster(settings)
    campaign = uplift.run(settings)
    tables = [
        classification.class_metrics(tumours, settings),
        classification.ranking_metrics(tumours, settings),
        regression.regression_metrics(*regression.predict(settings), settings),
        clustering.clustering_metrics(clusters, settings),
        uplift.treatment_effects(campaign, settings),
        uplift.uplift_metrics(campaign, settings),
    ]
    files = [output / f"{name}.png" for name in ("roc", "lift", "uplift", "silhouette")]
    pictures.draw_roc(tumours, settings, files[0])
    pictures.draw_lift(tumours, settings, files[1])
    pictures.draw_uplift(campaign, settings, files[2])
    pictures.draw_silhouettes(clusters, files[3])
    return tables, files


def show(tables: "Sequence[Table]", files: Sequence[Path], resamples: int) -> "list[Row]":
    """Print it all; the rows farthest from scikit-learn and from NumPy."""
    from examples.report import layout
    from examples.report.measures import NUMPY, SCIKIT_LEARN, largest_difference

    console = layout.console()
    for table in tables:
        layout.show(table, console)
    worst = [largest_difference(tables, peer) for peer in (SCIKIT_LEARN, NUMPY)]
    print(
        f"Intervals at 95 % by bootstrap, {resamples} resamples unless said otherwise. Difference: from scikit-learn,"
    )
    print("* from plain NumPy where scikit-learn has no such function, or will not have it much longer (entropy).")
    layout.show_check(worst, console)
    print("Written: " + ", ".join(map(str, files)))
    return worst


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every metric on real models, with bootstrap intervals.")
    parser.add_argument(
        "--output", type=Path, default=Path("model_report"), metavar="DIR", help="for pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, metavar="N", help="of each metric (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of data, models and resamples (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.resamples < 2:
        parser.error(f"--resamples must be at least 2; got {options.resamples}")
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed must be in [0, 2**32); got {options.seed}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 also where a number is not scikit-learn's."""
    options = parse(arguments)
    start = time.perf_counter()
    try:
        require()
        from examples.report.measures import Settings

        tables, files = report(Settings(options.resamples, options.seed), options.output)
    except (ModuleNotFoundError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    worst = show(tables, files, options.resamples)
    print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
    if not all(row.difference <= TOLERANCE for row in worst):
        print(f"A difference is above {TOLERANCE:g}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
