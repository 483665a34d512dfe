"""The commands of ``python -m fastcore``.

NumPy and the kernels are imported by the commands, never here: `bench` sets the environment up before NumPy loads.
"""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import fastcore

app = typer.Typer(
    help="Native-speed CPU kernels: benchmark them, compile them ahead of time, see what they run on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(help="The folder of compiled kernels.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")


def _console() -> Console:
    """A console that breaks no path when the output goes into a file or a pipe, where there is no width to fit."""
    return Console() if sys.stdout.isatty() else Console(width=200, highlight=False)


def _fail(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(2)


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A selection that takes two and a half minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Every case, with more rounds (the default runs them too, more briefly).")
    ] = False,
    filter: Annotated[str, typer.Option(metavar="REGEX", help="Only cases whose name contains a match.")] = "",
    peers: Annotated[str, typer.Option(metavar="NAMES", help="all, none, or a comma-separated list.")] = "",
    results: Annotated[str, typer.Option(help="Folder for the JSON, Markdown and plots.")] = "",
) -> None:
    """Verify, then time our kernels against NumPy and the peers that are installed."""
    if quick and full:
        raise _fail("--quick and --full exclude each other.")
    checkout = Path(fastcore.__file__).resolve().parents[1]
    if not (checkout / "benchmarks" / "runner.py").is_file():
        raise _fail(
            "The benchmarks are in the source checkout, not in the installed package. Clone the repository or unpack"
            ' the sdist; in it, run `make bench`, or `pip install -e ".[bench]"` and `python -m fastcore bench`.'
        )
    sys.path.insert(0, str(checkout))
    try:
        runner = import_module("benchmarks.runner")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("benchmarks"):
            raise
        raise _fail(f'The benchmarks need {error.name}. Install it with: pip install -e ".[bench]"') from None
    status = runner.main(quick=quick, full=full, filter=filter or None, peers=peers or None, results=results or None)
    raise typer.Exit(status or 0)


@app.command()
def warmup() -> None:
    """Compile all kernels into the cache, so that no later process waits for a compiler."""
    from fastcore._cli import kernels
    from fastcore._core import cache

    console = _console()
    entries = kernels.registered()
    columns = (
        TextColumn("compiling"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    start = time.perf_counter()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(entries))
        for entry in entries:
            progress.update(task, description=entry.name)
            entry.compile()
            progress.advance(task)
        progress.update(task, description="")
    console.print(f"{len(entries)} kernels ready after {time.perf_counter() - start:.1f} s.")
    facts = cache.info()
    if not facts["enabled"]:
        raise _fail(f"Nothing was kept, the cache is off: {facts['reason']}")
    console.print(f"Cache folder: {facts['folder']}", soft_wrap=True)


@app.command()
def config() -> None:
    """What the kernels run on: threads, processor, SIMD width, cache folder, versions."""
    from fastcore._cli import system

    table = Table(title=f"fastcore {fastcore.__version__}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in system.report().items():
        table.add_row(name, value)
    _console().print(table)


@cache_app.command("info")
def cache_info() -> None:
    """Where compiled kernels are kept, how many, and how large."""
    from fastcore._core import cache

    facts: dict[str, Any] = cache.info()
    typer.echo(f"folder   {facts['folder']}")
    typer.echo(f"enabled  {'yes' if facts['enabled'] else 'no: ' + facts['reason']}")
    typer.echo(f"entries  {facts['entries']}")
    typer.echo(f"size     {_size(facts['bytes'])}")


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove every compiled kernel; the next calls compile again."""
    from fastcore._core import cache

    facts: dict[str, Any] = cache.info()
    removed = cache.clear()
    typer.echo(f"Removed {removed} files of {_size(facts['bytes'])} in all from {facts['folder']}")
