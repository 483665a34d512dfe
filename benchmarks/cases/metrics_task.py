"""What the cases of `fastcore.metrics` have in common: one function, arguments of one kind, several numbers of rows.

Axes: N rows, D features of a row, K labels or clusters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.registry import Case, Check, Factory, Side
from fastcore import metrics

# Fewer rows of two arrays are in the first-level cache, and the call itself is what takes the time.
STREAMING_ROWS = 100_000


def vector(result: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(result, np.float64))


@dataclass(frozen=True)
class Task:
    """A function of `fastcore.metrics` on arguments of one kind.

    Parameters
    ----------
    domain, function, kind : parts of the names of its cases; `kind` is the dtype that they show
    rows : the numbers of rows N, a case each
    make : (random generator, N) -> arrays
    naive : what a user of NumPy alone writes, a function of the arrays
    twin : the definition, a function of the arrays; judges the results of up to `twin_rows` rows, beyond `naive` does.
        The tests hold the one against the other.
    peers : as in `Case`
    by_keyword : names of the last arrays, where they are keyword arguments
    options : further keyword arguments
    sizes : lengths of axes besides N
    row_bytes, row_flops : what a row takes; where more than N counts, `flops` of N
    streams : whether memory is what bounds many rows
    collect : a result as one array
    quick_rows : the N of the quick case, if there is one
    """

    domain: str
    function: str
    kind: str
    rows: Sequence[int]
    make: Callable[[np.random.Generator, int], Sequence[np.ndarray]]
    naive: Callable[..., Any]
    twin: Callable[..., Any]
    peers: Mapping[str, Factory]
    row_bytes: float
    row_flops: float = 2.0
    flops: Callable[[int], float] | None = None
    by_keyword: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    option: str = ""
    streams: bool = False
    twin_rows: int = 100_000
    tolerance: float = 1e-12
    peer_tolerance: float | None = None
    collect: Callable[[Any], np.ndarray] = vector
    quick_rows: int | None = None

    def name(self, rows: int) -> str:
        lengths = "-".join(f"{axis}{length}" for axis, length in {"N": rows, **self.sizes}.items())
        return "/".join(filter(None, (self.domain, self.function, self.kind, lengths, self.option)))

    @property
    def group(self) -> str:
        """The row of the README's table: the name without N."""
        lengths = (f"{axis}={length}" for axis, length in self.sizes.items())
        return " ".join(filter(None, (self.function, self.kind, *lengths, self.option)))


@dataclass(frozen=True)
class Input:
    task: Task
    arrays: tuple[np.ndarray, ...]

    def keywords(self) -> dict[str, np.ndarray]:
        names = self.task.by_keyword
        return dict(zip(names, self.arrays[len(self.arrays) - len(names) :]))

    def call_of(self, function: Callable[..., Any]) -> Callable[[], Any]:
        """The call as users of `fastcore.metrics` and scikit-learn write it."""
        positional = self.arrays[: len(self.arrays) - len(self.task.by_keyword)]
        return partial(function, *positional, **self.keywords(), **self.task.options)

    def side(self, call: Callable[[], Any], setup: str = "") -> Side:
        return Side(call, self.task.collect, setup)


def make(task: Task, rows: int) -> Input:
    random = np.random.default_rng(crc32(task.name(rows).encode()))
    return Input(task, tuple(task.make(random, rows)))


def ours(data: Input) -> Side:
    return data.side(data.call_of(getattr(metrics, data.task.function)))


def naive(data: Input) -> Side:
    return data.side(partial(data.task.naive, *data.arrays))


def check(data: Input) -> Check:
    task = data.task
    judge = task.twin if len(data.arrays[0]) <= task.twin_rows else task.naive
    return Check(np.asarray, task.collect(judge(*data.arrays)))


def case(task: Task, rows: int) -> Case:
    dtype = {"f64": "float64"}.get(task.kind, task.kind)
    return Case(
        name=task.name(rows),
        group=task.group,
        sizes={"N": rows, **task.sizes},
        dtype=dtype,
        make=partial(make, task, rows),
        ours=ours,
        naive=naive,
        check=check,
        flops=task.row_flops * rows if task.flops is None else task.flops(rows),
        bytes_moved=task.row_bytes * rows,
        tolerance=task.tolerance,
        ceiling="bytes" if task.streams and rows >= STREAMING_ROWS else None,
        peer_tolerance=task.peer_tolerance,
        peers=task.peers,
        quick=rows == task.quick_rows,
    )


def cases_of(tasks: Sequence[Task]) -> list[Case]:
    return [case(task, rows) for task in tasks for rows in task.rows]


def zeros_and_ones(random: np.random.Generator, rows: int) -> np.ndarray:
    """(N,) int64, both values among them."""
    y = random.integers(0, 2, rows)
    y[:2] = 0, 1
    return y
