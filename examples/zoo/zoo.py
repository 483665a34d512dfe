"""A zoo of limited capacity. Methods return results and raise the errors of `examples.zoo.errors`; nothing prints."""

import itertools
import threading
from collections.abc import Callable

from examples.zoo.animal import AFTER_TREATMENT, Animal, Health
from examples.zoo.errors import AlreadySick, Hungry, NotHealthy, NotSick, UnknownAnimal, ZooFull
from examples.zoo.records import Journal, Records
from examples.zoo.transfer import Step, ignore, transaction, transfer

_orders = itertools.count(1)
_numbers = itertools.count(1)


class Zoo:
    """Any number of threads may use it. A method that raises has changed nothing.

    Parameters
    ----------
    name : for messages
    capacity : places, 0 or more; an animal takes one
    """

    def __init__(self, name: str, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"capacity of {name} must not be negative; got {capacity}.")
        self.name = name
        self.capacity = capacity
        self.order = next(_orders)
        self.lock = threading.Lock()
        self.records = Records(capacity)

    def __repr__(self) -> str:
        return f"Zoo({self.name!r}, {self.capacity})"

    def __len__(self) -> int:
        with self.lock:
            return len(self.records)

    def accommodate(self, name: str, species: str, *, health: Health = Health.HEALTHY, hungry: bool = False) -> Animal:
        """Take a new animal in, and number it. Raises ZooFull."""
        with self.lock, Journal() as journal:
            row = self.free_row()
            self.records.put(row, Animal(next(_numbers), name, species, Health(health), hungry), journal)
            return self.records.read(row)

    def animal(self, number: int) -> Animal:
        """What is known of it. Raises UnknownAnimal, as all methods that take a number do."""
        with self.lock:
            return self.records.read(self.row_of(number))

    def animals(
        self,
        *,
        species: str | None = None,
        health: Health | None = None,
        hungry: bool | None = None,
        prepared: bool | None = None,
    ) -> list[Animal]:
        """All, or those that are as asked: animals(hungry=True), animals(species="lynx", health=Health.SICK)."""
        asked = {"species": species, "health": health, "hungry": hungry, "prepared": prepared}
        with self.lock:
            rows = self.records.rows({name: value for name, value in asked.items() if value is not None})
            return [self.records.read(row) for row in rows]

    def grow_hungry(self, number: int) -> Animal:
        """It is no longer prepared."""
        with self.lock, Journal() as journal:
            return self.records.change(self.row_of(number), journal, hungry=True, prepared=False)

    def feed(self, number: int) -> bool:
        """Feed it if it is hungry; whether it was."""
        with self.lock, Journal() as journal:
            row = self.row_of(number)
            hungry = self.records.read(row).hungry
            if hungry:
                self.records.change(row, journal, hungry=False)
            return hungry

    def fall_sick(self, number: int) -> Animal:
        """It is no longer prepared; one in rehabilitation starts again. Raises AlreadySick."""
        with self.lock, Journal() as journal:
            row = self.row_of(number)
            if self.records.read(row).health == Health.SICK:
                raise AlreadySick(f"Number {number} of {self.name} is sick already. Treat it.")
            return self.records.change(row, journal, health=Health.SICK, prepared=False)

    def treat(self, number: int) -> Health:
        """A step from SICK over REHABILITATION to HEALTHY; the health it has then. Raises NotSick."""
        with self.lock, Journal() as journal:
            row = self.row_of(number)
            health = self.records.read(row).health
            if health not in AFTER_TREATMENT:
                raise NotSick(f"Number {number} of {self.name} is healthy; only sick and recovering ones are treated.")
            return self.records.change(row, journal, health=AFTER_TREATMENT[health]).health

    def prepare(self, number: int) -> Animal:
        """Make it ready to be given away. Raises NotHealthy and Hungry."""
        with self.lock, Journal() as journal:
            row = self.row_of(number)
            animal = self.records.read(row)
            if animal.health != Health.HEALTHY:
                raise NotHealthy(f"Number {number} of {self.name} is not healthy but {animal.health.name}. Treat it.")
            if animal.hungry:
                raise Hungry(f"Number {number} of {self.name} is hungry. Feed it.")
            return self.records.change(row, journal, prepared=True)

    def give(self, number: int, to: "Zoo", on_step: Callable[[Step], None] = ignore) -> Animal:
        """Give a prepared animal to another zoo, or change nothing: see `transfer`."""
        return transfer(number, self, to, on_step)

    def row_of(self, number: int) -> int:
        """For whoever holds the lock. Raises UnknownAnimal."""
        row = self.records.row_of(number)
        if row is None:
            raise UnknownAnimal(f"{self.name} has no animal with the number {number}.")
        return row

    def free_row(self) -> int:
        """For whoever holds the lock. Raises ZooFull."""
        row = self.records.free_row()
        if row is None:
            raise ZooFull(f"{self.name} is full: {self.capacity} of {self.capacity} places are taken.")
        return row


def census(*zoos: Zoo) -> dict[Zoo, list[int]]:
    """The numbers of the animals in each zoo, all at one moment, between transfers."""
    with transaction(*zoos):
        return {zoo: [int(number) for number in zoo.records.numbers if number] for zoo in zoos}
