"""What the cases of `fastcore.nn` have in common.

Axes: N rows, samples or elements, E elements of a row, C channels, H height and W width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks import streaming
from benchmarks.registry import Case, Check, Factory, Side
from fastcore import nn, reference

CHECKED = 16  # rows at the start and at the end
CHECKED_ELEMENTS = 4000  # of vectors
COPY = "stream copy"
# Dropout, and PyTorch's defaults of AdamW; its steps go on from here, where the corrections of the first are behind.
P = 0.1
STEP, RATE, BETAS, DECAY = 1000, 1e-3, (0.9, 0.999), 0.01


@dataclass(frozen=True)
class Problem:
    """function : of `fastcore.nn`; option : which way of it; given_out : the result goes to an array that is there, as
    that of the bound does, so that nobody waits for fresh memory from the system"""

    function: str
    sizes: Mapping[str, int]
    option: str = ""
    given_out: bool = False
    quick: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sizes.values())

    @property
    def name(self) -> str:
        sizes = "-".join(f"{letter}{size}" for letter, size in self.sizes.items())
        return "/".join(filter(None, ("nn", self.function, "f32", sizes, self.option, "out" * self.given_out)))

    @property
    def group(self) -> str:
        sizes = " ".join(f"{letter}={size}" for letter, size in list(self.sizes.items())[1:])
        return " ".join(filter(None, ("nn", self.function, "float32", sizes, self.option, "out" * self.given_out)))


@dataclass(frozen=True)
class Input:
    """Arrays by the names the function gives them, and those to write to where they are given."""

    problem: Problem
    arrays: dict[str, np.ndarray]
    out: Any = None

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


@dataclass(frozen=True)
class Task:
    """How the problems of one function are made, computed and judged.

    Parameters
    ----------
    shapes : shape of the input -> shapes of the arrays by name; one named "grad_out" or "input" comes first
    call : library (`fastcore.nn` or the reference), input -> the call as a function of nothing
    naive : input -> the same in NumPy, array by array
    written : names of arrays as large as those that are written
    flops : for each element of the input
    whole : the reference needs all rows, not those judged alone
    """

    shapes: Callable[[tuple[int, ...]], dict[str, tuple[int, ...]]]
    call: Callable[[Any, Input], Callable[[], Any]]
    naive: Callable[[Input], Callable[[], Any]]
    written: Sequence[str]
    flops: float
    whole: bool = False
    tolerance: float = 1e-6
    peers: Mapping[str, Factory] = field(default_factory=dict)


def make(task: Task, problem: Problem) -> Input:
    random = np.random.default_rng(crc32(problem.name.encode()))
    shapes = task.shapes(problem.shape)
    arrays = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    if not problem.given_out:
        return Input(problem, arrays)
    out = tuple(aligned(arrays[name].shape) for name in task.written)
    return Input(problem, arrays, out if len(out) > 1 else out[0])


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros at a multiple of 64 bytes, as PyTorch allocates; NumPy's large arrays begin 16 bytes behind one."""
    size = 4 * int(np.prod(shape))
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(np.float32).reshape(shape)


def judged(result: Any) -> np.ndarray:
    """The ends of each array; of sums over rows, which grow with the root of their number, as much less."""
    results = [np.asarray(each) for each in (result if isinstance(result, tuple | list) else [result])]
    parts = []
    for array in results:
        count = CHECKED if array.ndim > 1 else CHECKED_ELEMENTS
        ends = array if len(array) <= 2 * count else np.concatenate([array[:count], array[-count:]])
        parts.append((ends / (results[0].size / array.size) ** 0.5).ravel())
    return np.concatenate(parts)


def part(data: Input) -> Input:
    """The rows that are judged, in float64."""

    def ends(array: np.ndarray) -> np.ndarray:
        count = CHECKED if array.ndim > 1 else CHECKED_ELEMENTS
        is_rows = array.shape == data.problem.shape and len(array) > 2 * count
        return np.concatenate([array[:count], array[-count:]]) if is_rows else array

    return in_double({name: ends(array) for name, array in data.arrays.items()}, data)


def in_double(arrays: Mapping[str, np.ndarray], data: Input) -> Input:
    return replace(data, arrays={name: array.astype(np.float64) for name, array in arrays.items()}, out=None)


def ours(task: Task, data: Input) -> Side:
    return Side(task.call(nn, data), judged)


def naive(task: Task, data: Input) -> Side:
    return Side(task.naive(data), judged)


def check(task: Task, data: Input) -> Check:
    known = in_double(data.arrays, data) if task.whole else part(data)
    return Check(lambda result: result, judged(task.call(reference, known)()))


def bytes_moved(task: Task, data_shapes: Mapping[str, tuple[int, ...]]) -> int:
    size = {name: int(np.prod(shape)) for name, shape in data_shapes.items()}
    return 4 * (sum(size.values()) + sum(size[name] for name in task.written))


def case(task: Task, problem: Problem) -> Case:
    moved = bytes_moved(task, task.shapes(problem.shape))
    return Case(
        name=problem.name,
        group=problem.group,
        sizes=dict(problem.sizes),
        dtype="float32",
        make=partial(make, task, problem),
        ours=partial(ours, task),
        naive=partial(naive, task),
        check=partial(check, task),
        flops=task.flops * float(np.prod(problem.shape)),
        bytes_moved=float(moved),
        tolerance=task.tolerance,
        ceiling="bytes",
        bound=(lambda data: streaming.copy_bound(list(data.arrays.values()), moved)) if problem.given_out else None,
        bound_name=COPY,
        peers=task.peers,
        quick=problem.quick,
    )


def dropout_judged(x: np.ndarray, result: np.ndarray) -> np.ndarray:
    """What the mask does not change: the share kept, that of neighbours both kept, and kept values over the input."""
    kept = result != 0
    neighbours = np.count_nonzero(kept[::2] & kept[1::2]) / (kept.size // 2)
    ratio = result[:CHECKED_ELEMENTS] / x[:CHECKED_ELEMENTS]
    ratio = ratio[kept[:CHECKED_ELEMENTS]]
    return np.array([np.count_nonzero(kept) / kept.size, neighbours, ratio.min(), ratio.max()])


def adamw_judged(states: dict[str, np.ndarray], step: Callable[[dict[str, np.ndarray]], Any]) -> np.ndarray:
    """How one step changes the parameters at both ends; the side's own go on changing while it is timed."""
    ends = {name: np.concatenate([x[:CHECKED_ELEMENTS], x[-CHECKED_ELEMENTS:]]) for name, x in states.items()}
    before = ends["param"].copy()
    step(ends)
    return (ends["param"].astype(np.float64) - before) / RATE
