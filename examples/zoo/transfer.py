"""Changes that happen whole or not at all, of one zoo or of several; an animal's way from one to another."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from examples.zoo.animal import Animal
from examples.zoo.errors import NotPrepared, SameZoo
from examples.zoo.records import Journal

if TYPE_CHECKING:
    from examples.zoo.zoo import Zoo


class Step(StrEnum):
    """How far a transfer is: what has just happened."""

    ASKED = "asked"
    ONE_LOCKED = "one zoo locked"
    LOCKED = "both zoos locked"
    CHECKED = "checked"
    ARRIVED = "written where it goes"
    LEFT = "erased where it was"
    DONE = "done"


def ignore(step: Step) -> None:
    """What is told of steps if nobody asks."""


@contextmanager
def transaction(*zoos: "Zoo", on_lock: Callable[[int], None] = lambda locked: None) -> Iterator[Journal]:
    """Lock zoos; if the block raises, anything at all, what it wrote to the journal is undone.

    Locks are taken in the order in which the zoos were opened, whoever gives to whom: a thread waits only for zoos
    behind those it holds, so no circle of waiting threads can close.
    """
    with ExitStack() as held:
        for locked, zoo in enumerate(sorted(set(zoos), key=lambda zoo: zoo.order), 1):
            held.enter_context(zoo.lock)
            on_lock(locked)
        yield held.enter_context(Journal())


def transfer(number: int, source: "Zoo", target: "Zoo", on_step: Callable[[Step], None] = ignore) -> Animal:
    """Give a prepared animal to another zoo, or change nothing.

    Parameters
    ----------
    number : of an animal of `source`
    on_step : told of every step as soon as it has happened, for logs and tests. What it raises comes out of here;
        before DONE it undoes the transfer. It is called under locks and may not use the zoos, except at ASKED and DONE.

    Returns
    -------
    The animal as it arrived: a journey more, no longer prepared

    Raises
    ------
    SameZoo : source is target
    UnknownAnimal : it does not live in `source` (any more)
    NotPrepared : it is not prepared
    ZooFull : `target` has no place
    """
    if source is target:
        raise SameZoo(f"An animal is given to another zoo; {source.name} cannot give number {number} to itself.")
    on_step(Step.ASKED)
    with transaction(
        source, target, on_lock=lambda locked: on_step((Step.ONE_LOCKED, Step.LOCKED)[locked - 1])
    ) as journal:
        row = source.row_of(number)
        animal = source.records.read(row)
        if not animal.prepared:
            raise NotPrepared(f"{animal.name}, number {number}, must be prepared before {source.name} gives it away.")
        place = target.free_row()
        on_step(Step.CHECKED)
        arrived = animal._replace(prepared=False, journeys=animal.journeys + 1)
        target.records.put(place, arrived, journal)
        on_step(Step.ARRIVED)
        source.records.erase(row, journal)
        on_step(Step.LEFT)
    on_step(Step.DONE)
    return arrived
