"""The command line's benchmark: `main` settles the environment, runs the cases, shows the table and writes the report.

How sides are timed is in `timing`, how they are verified in `session`.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import environment, registry

# Seconds for the timed rounds of one case, least number of rounds, seconds for all, seconds after which no case begins.
# Quick has to end within two and a half minutes, loading all peers (15 s), compilation and plots included.
PACES: dict[str, tuple] = {"quick": (1.0, 4, 100.0, 132.0), "normal": (6.0, 7), "full": (20.0, 11)}
RESULTS = Path("results")


def main(
    quick: bool = False,
    full: bool = False,
    filter: str | None = None,
    peers: str | None = None,
    results: str | Path | None = None,
) -> int:
    """Run the benchmark; the exit status: 0, 1 if a result of ours was wrong, 2 for wrong arguments.

    Parameters
    ----------
    quick : only the quick cases, briefly
    full : every case, with more rounds
    filter : regular expression, searched in the names of the cases
    peers : all (default), none, or names with commas between
    results : folder of the report, default results/<time>; results/latest has a copy of the newest
    """
    console = Console() if sys.stdout.isatty() else Console(width=160)
    removed, late = environment.unset_openblas()
    if removed:
        again = "in a new process, since NumPy was loaded already" if late else "before NumPy loads"
        text = f"Unset {', '.join(removed)} {again}: slows OpenBLAS, and so NumPy, down."
        console.print(text, highlight=False)
    if late:
        return environment.rerun(arguments(quick, full, filter, peers, results))
    mode = "quick" if quick else "full" if full else "normal"
    try:
        cases = registry.select(filter, quick)
        names = registry.select_peers(peers, registry.peer_names(cases))
    except ValueError as error:
        console.print(str(error), markup=False, highlight=False)
        return 2
    run = run_cases(cases, names, mode, removed, console)
    show(run, console)
    folder = Path(results) if results else RESULTS / time.strftime("%Y%m%d-%H%M%S")
    write(run, folder, console)
    if not results:
        replace_latest(folder)
    console.print(f"Report, plots and raw numbers: {folder.resolve()}", highlight=False, soft_wrap=True)
    return int(any("failed" in case["sides"].get(registry.OURS, {}) for case in run["cases"]))


def arguments(quick: bool, full: bool, filter: str | None, peers: str | None, results: str | Path | None) -> list[str]:
    """The command line of `python -m benchmarks` that asks for the same."""
    words = ["--quick"] * quick + ["--full"] * full
    for name, value in (("--filter", filter), ("--peers", peers), ("--results", results)):
        words += [f"{name}={value}"] if value else []
    return words


def run_cases(cases: list[registry.Case], peers: list[str], mode: str, removed: list[str], console: Console) -> dict:
    """Every case in turn, under a progress bar, until the time is up."""
    from benchmarks import session
    from benchmarks.machine import Ceilings

    pace = session.Pace(*PACES[mode])
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    records: list[dict] = []
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("measuring the ceilings of this machine", total=len(cases))
        ceilings = Ceilings()
        ceilings.base()
        for number, case in enumerate(cases):
            if pace.is_over:
                break
            if not console.is_terminal:  # where the bar does not show
                console.print(f"{number + 1}/{len(cases)} {case.name}", highlight=False)
            plan = pace.next_case(len(cases) - number)
            records.append(session.run_case(case, peers, plan, ceilings, describe(progress, task, case.name)))
            progress.advance(task)
        skipped = [case.name for case in cases[len(records) :]]
        return session.new_run(mode, environment.report(removed), peers, records, ceilings, skipped)


def describe(progress: Progress, task: Any, name: str) -> Callable[[str], None]:
    return lambda step: progress.update(task, description=f"{name}: {step}")


def show(run: dict, console: Console) -> None:
    """The table and what has to be said with it."""
    from benchmarks import report

    for part in report.parts(run):
        others = report.others_of(run, part)
        view = Table(
            title="Medians; below: how many times longer than fastcore (quartiles of the rounds)", title_justify="left"
        )
        view.add_column("case", overflow="fold", min_width=24)
        for head in (report.title(registry.OURS), *map(report.title, others), "of the ceiling"):
            view.add_column(head, justify="right")
        for case in part:
            cells = [report.cell(case, registry.OURS), *(colour(case, side) for side in others)]
            view.add_row(case["name"].replace("/", " "), *cells, report.fraction(case).replace(" (", "\n("))
        console.print(view)
    for line in report.machine_lines(run):
        console.print(line, markup=False, highlight=False)
    sections = {
        "Losses": report.losses(run),
        "Wrong or failed": report.failures(run),
        "Not compared": report.missing(run),
    }
    for heading, lines in sections.items():
        if lines or heading == "Losses":
            console.print(f"\n{heading}: {'' if lines else 'none in this run.'}", style="bold")
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False)


def colour(case: dict, side: str) -> str:
    """A cell, red where we lose and green where we win beyond the spread."""
    from benchmarks import report

    text = report.cell(case, side, separator="\n")
    ratio = case["sides"].get(side, {}).get("ratio")
    if ratio is None:
        return text
    style = "red" if ratio[0] < 1.0 else "green" if ratio[1] > 1.0 else "default"
    return f"[{style}]{text}[/]"


def write(run: dict, folder: Path, console: Console) -> None:
    """results.json, report.md and, where matplotlib is installed, the pictures."""
    from benchmarks import report

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(run, indent=1), encoding="utf-8")
    pictures: list[str] = []
    try:
        from benchmarks import plots
    except ModuleNotFoundError as error:
        console.print(f'No plots: {error}. Install them with: pip install -e ".[bench]"', markup=False)
    else:
        pictures = [path.name for path in plots.write(run, folder)]
    (folder / "report.md").write_text(report.markdown(run, pictures), encoding="utf-8")


def replace_latest(folder: Path) -> None:
    """A copy and not a link: links need privileges on Windows."""
    latest = folder.parent / "latest"
    shutil.rmtree(latest, ignore_errors=True)
    shutil.copytree(folder, latest)
