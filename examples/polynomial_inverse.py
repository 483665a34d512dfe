"""P(x) = y: the problem this solver began with, read in two ways, and a million readings of a thermocouple.

python examples/polynomial_inverse.py
python examples/polynomial_inverse.py --output pictures --readings 1000000 --seed 0

The first part shows three searches from x = 0, one of which ends at -0.1406 in a minimum of P that solves nothing, and
the solutions to 30 digits. The second turns voltages of a type N thermocouple into temperatures by inverting the
polynomials that define it, and compares them with NIST's table, with the truth, and with NIST's approximate inverse.
Writes source.png and thermocouple.png where matplotlib is installed.
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
    from examples.polynomial.thermocouple import Report, TableError, TypeN

TRAP = """\
The sample code that came with the problem descends P itself, x -= rate * P'(x). That seeks the least P(x), whatever y
is, and prints the place of a minimum. What has to fall is the distance from y, (P(x) - y)²/2; yet its gradient is
(P(x) - y) P'(x), which vanishes in that minimum, too: from the same start a descent on the right function is caught in
the same place, if P does not reach y there. solve() looks for these places first: they cut the line into pieces where P
rises or falls, and on each of those it keeps the solution between two ends. So it has all solutions, or can say that
there is none.
"""


def show_source() -> bool:
    """The searches and the solutions; whether all are right."""
    from examples.polynomial import source

    print(f"P(x) = {source.LEVEL!r}\n")
    right = True
    for reading in source.READINGS:
        print(f"{reading.name}\n  {'from x = 0':27}{'steps':>6}{'ends at':>20}{'|P(x) - y|':>13}")
        for attempt in source.attempts(reading):
            end = source.exact(reading, attempt.x)
            verdict = "" if end.residual <= 1e-9 else "   no solution"
            print(f"  {attempt.method:27}{len(attempt.iterates) - 1:6}{end.x:20.15f}{end.residual:13.1e}{verdict}")
        for local in source.local_answers(reading):
            residual = source.exact(reading, local.x).residual
            print(f"  {local.method:27}{local.iterations:6}{local.x:20.15f}{residual:13.1e}   {local.status}")
        found = source.answers(reading)
        print(f"  {'all by solve':33}{'x':>20}{'|P(x) - y|':>13}{'error of x':>13}")
        for answer in found:
            print(f"{'':35}{answer.x:20.15f}{answer.residual:13.1e}{answer.error:13.1e}")
        print(f"  to 30 digits: {', '.join(reading.solutions)}\n")
        right &= source.is_right(reading, found)
    print(TRAP)
    return right


def show_table(table: "TableError") -> None:
    """Some rows of the table: what its voltages give."""
    print("Type N thermocouple, voltages of NIST's table (three decimals)")
    print(f"{'°C':>8}{'found':>13}{'difference':>13}{'half a digit':>14}")
    for t, error, precision in list(zip(*table))[::5]:
        print(f"{t:8.0f}{t - error:13.4f}{-error:13.4f}{precision:14.4f}")
    print(f"All {len(table.error)} rows {'agree' if table.agrees else 'DO NOT AGREE'} to the table's precision.\n")


def show_report(found: "Report") -> None:
    print(f"{found.readings:,} readings over -270 to 1300 °C, terminals at 25 °C or so: one thread")
    print(f"{'way':40}{'largest error, °C':>18}{'ns a reading':>14}{'readings/s':>13}")
    for row in found.comparisons:
        print(f"{row.way:40}{row.error:18.1e}{row.nanoseconds:14.1f}{1e9 / row.nanoseconds:13.2e}")
    print("From -200 °C on, where the published inverse begins, of voltages against 0 °C.")
    warm, all_of_them = found.temperature_error
    print(f"fastcore with the terminals' voltage: {warm:.1e} °C; down to -270 °C, where a microvolt is three degrees,")
    print(f"{all_of_them:.1e} °C or {found.voltage_error:.1e} mV")
    print("Answers: " + ", ".join(f"{count:,} {status}" for status, count in found.statuses.items()))
    print("\nPublished inverse: its range, its error as published, as found")
    for part, low, high in found.approximate:
        print(
            f"{part.low:8.0f} to {part.high:4.0f} °C   {part.error[0]:+.2f} to {part.error[1]:+.2f}"
            f"   {low:+.4f} to {high:+.4f}"
        )
    print()


def draw(convert: "TypeN", output: Path) -> list[Path]:
    """The pictures written; none without matplotlib."""
    if find_spec("matplotlib") is None:
        print("No pictures: matplotlib is not installed.", file=sys.stderr)
        return []
    from examples.polynomial import pictures, source

    output.mkdir(parents=True, exist_ok=True)
    files = [output / "source.png", output / "thermocouple.png"]
    pictures.draw_source(source.READINGS, files[0])
    pictures.draw_thermocouple(convert, files[1])
    return files


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="P(x) = y, and a thermocouple calibrated by inverting polynomials.")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("polynomial_inverse"),
        metavar="DIR",
        help="for pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--readings", type=int, default=1_000_000, metavar="N", help="of the thermocouple (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the readings (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.readings < 10:
        parser.error(f"--readings must be at least 10; got {options.readings}")
    if options.seed < 0:
        parser.error(f"--seed must not be negative; got {options.seed}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 also where a number is not what it should be."""
    options = parse(arguments)
    start = time.perf_counter()
    from examples.polynomial import thermocouple

    right = show_source()
    convert = thermocouple.TypeN()
    table = thermocouple.against_table(convert)
    found = thermocouple.report(convert, thermocouple.simulate(options.readings, options.seed))
    show_table(table)
    show_report(found)
    try:
        files = draw(convert, options.output)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    if files:
        print("Written: " + ", ".join(map(str, files)))
    print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
    if not (right and table.agrees and found.is_right):
        print("A number is not what it should be.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
