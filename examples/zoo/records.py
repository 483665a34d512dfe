"""A table of animals: a NumPy array for each column, and as many rows as the zoo has places."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from examples.zoo.animal import Animal, Health

# Strings are of any length: "<U20" would cut names off in silence.
STRING = np.dtypes.StringDType(coerce=False)
COLUMNS: dict[str, Any] = {
    "number": np.int64,
    "name": STRING,
    "species": STRING,
    "health": np.int8,
    "hungry": np.bool_,
    "prepared": np.bool_,
    "journeys": np.int64,
}
FREE = 0


class Journal:
    """What was written over; put back if the block that writes raises."""

    def __init__(self) -> None:
        self._before: list[tuple[np.ndarray, int, Any]] = []

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self.undo()

    def write(self, column: np.ndarray, row: int, value: Any) -> None:
        # The old value first: whatever happens between the two lines, `undo` finds nothing wrong.
        self._before.append((column, row, column[row]))
        column[row] = value

    def undo(self) -> None:
        """Put everything back, last change first. Numbers into arrays that exist: this cannot fail."""
        for column, row, value in reversed(self._before):
            column[row] = value


class Records:
    """Rows of animals. A row is an animal's from the moment its number is written until that is FREE again.

    Rows are found by looking through a column: 1 µs for a thousand places.
    """

    def __init__(self, capacity: int) -> None:
        self.columns = {name: np.zeros(capacity, dtype) for name, dtype in COLUMNS.items()}
        self.numbers = self.columns["number"]

    def __len__(self) -> int:
        return int(np.count_nonzero(self.numbers))

    def row_of(self, number: int) -> int | None:
        """Where the animal is; None if it is not here."""
        rows = (self.numbers == number).nonzero()[0]
        return int(rows[0]) if number != FREE and len(rows) else None

    def free_row(self) -> int | None:
        rows = (self.numbers == FREE).nonzero()[0]
        return int(rows[0]) if len(rows) else None

    def rows(self, values: Mapping[str, Any]) -> np.ndarray:
        """The rows of animals that have these values, by column."""
        chosen = self.numbers != FREE
        for name, value in values.items():
            chosen &= self.columns[name] == value
        return np.flatnonzero(chosen)

    def read(self, row: int) -> Animal:
        number, name, species, health, *others = [column.item(row) for column in self.columns.values()]
        return Animal(number, name, species, Health(health), *others)

    def put(self, row: int, animal: Animal, journal: Journal) -> None:
        """Into a free row. The number comes last: until then the row is free, and needs no undoing."""
        for name, value in zip(animal._fields[1:], animal[1:]):
            self.columns[name][row] = value
        journal.write(self.numbers, row, animal.number)

    def change(self, row: int, journal: Journal, **values: Any) -> Animal:
        for name, value in values.items():
            journal.write(self.columns[name], row, value)
        return self.read(row)

    def erase(self, row: int, journal: Journal) -> None:
        journal.write(self.numbers, row, FREE)
