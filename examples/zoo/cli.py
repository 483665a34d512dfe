"""The command line: it prints, and does nothing else."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from examples.zoo.animal import Animal, Health
from examples.zoo.errors import ZooError
from examples.zoo.stress import CARELESS, Outcome, Settings, careless_transfer, stress
from examples.zoo.transfer import Step
from examples.zoo.zoo import Zoo

app = typer.Typer(
    help="A zoo whose animals are never lost.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


def show_animals(console: Console, zoo: Zoo) -> None:
    animals = zoo.animals()
    table = Table(*Animal._fields, title=f"{zoo.name}: {len(animals)} of {zoo.capacity} places", title_justify="left")
    for animal in animals:
        table.add_row(*(value.name.lower() if isinstance(value, Health) else str(value) for value in animal))
    console.print(table)


@app.command()
def day() -> None:
    """A day in two small zoos: an animal comes sick and hungry, and leaves healthy and fed."""
    console = Console()
    north, south = Zoo("North", 3), Zoo("South", 1)
    lynx = north.accommodate("Luna", "lynx", health=Health.SICK, hungry=True).number
    otter = north.accommodate("Otto", "otter").number
    show_animals(console, north)

    def refused(what: str, do: object, *arguments: object) -> None:
        try:
            do(*arguments)  # type: ignore[operator]
        except ZooError as error:
            console.print(f"{what}: refused, {type(error).__name__}. {error}")

    refused("give Luna away", north.give, lynx, south)
    refused("prepare Luna", north.prepare, lynx)
    console.print(f"treat Luna: {north.treat(lynx).name.lower()}, then {north.treat(lynx).name.lower()}")
    refused("treat Luna again", north.treat, lynx)
    console.print(f"feed Luna: {'eats' if north.feed(lynx) else 'is not hungry'}")
    console.print(f"feed Luna again: {'eats' if north.feed(lynx) else 'is not hungry'}")
    for number in (lynx, otter):
        north.prepare(number)
    console.print(f"give Luna to South: {north.give(lynx, south)}")
    refused("give Otto to South", north.give, otter, south)
    refused("give Otto to North", north.give, otter, north)
    refused("feed Luna in North", north.feed, lynx)
    show_animals(console, north)
    show_animals(console, south)


def show_outcome(console: Console, name: str, outcome: Outcome) -> None:
    console.print(f"{name}: {outcome.completed:,} transfers in {outcome.seconds:.1f} s")
    console.print(f"  made to fail: {', '.join(f'{outcome.injected[step]:,} {step}' for step in Step)}")
    console.print(f"  refused:      {', '.join(f'{n:,} {error}' for error, n in sorted(outcome.refused.items()))}")
    console.print(f"  audits:       {len(outcome.populations):,}, {outcome.wrong_audits:,} of them wrong")
    console.print(f"  journeys:     {outcome.journeys:,} by the animals' own count")
    console.print(f"  lost {len(outcome.lost)}, there twice {len(outcome.doubled)}")


@app.command("stress")
def stress_command(
    threads: Annotated[int, typer.Option(min=1)] = Settings().threads,
    transfers: Annotated[int, typer.Option(min=1, help="To complete.")] = Settings().transfers,
    failures: Annotated[float, typer.Option(min=0, max=0.9, help="Share made to fail.")] = Settings().failures,
    seed: int = Settings().seed,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the populations.")] = None,
) -> None:
    """Transfers among 8 zoos by many threads, some made to fail; then the same as it is often written."""
    if plot is not None:
        try:
            from examples.zoo.pictures import check, draw_populations
        except ModuleNotFoundError:
            typer.echo("--plot needs matplotlib: pip install 'fastcore-kernels[plot]'", err=True)
            raise typer.Exit(2) from None
        try:
            check(plot)  # before the work, which would be lost
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="'--plot'") from None
    console = Console()
    settings = Settings(threads=threads, transfers=transfers, failures=failures, seed=seed)
    outcome = stress(settings)
    show_outcome(console, "as transactions", outcome)
    careless = stress(CARELESS._replace(threads=threads, failures=failures, seed=seed), careless_transfer, 0.002)
    show_outcome(console, "without locks and rollback", careless)
    if plot is not None:
        try:
            draw_populations(outcome, careless, settings, plot)
        except OSError as error:
            typer.echo(error, err=True)
            raise typer.Exit(1) from None
        typer.echo(f"Written: {plot}")
    if not outcome.is_right:
        typer.echo("An animal was lost or is there twice.", err=True)
        raise typer.Exit(1)
