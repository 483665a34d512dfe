"""Code that every device runs on its own blocks."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import config
from numba.core.errors import NumbaError

from fastcore._core import threads
from fastcore._core import validate_sharding_device as check
from fastcore._core.jit import kernel
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.kernels.launch import compiled_run, entry, run_in_parallel
from fastcore.sharding.mesh import Mesh

__all__ = ["device_function", "device_kernel"]

# Estimates of a device's serial time, which decide whether a launch pays: 100 GFLOP/s, 10 GB/s.
NS_PER_FLOP, NS_PER_BYTE = 0.01, 0.1
UNKNOWN_NS = 1e6  # of a kernel that does not say its operations: a launch in vain costs a few microseconds
COMPILED_TYPES = frozenset("?bhilqBHILQfdFD")
ITEMS_PER_WORKER = 4  # parts, where devices are few: a stolen core then delays a call by a quarter at most


def device_kernel(
    function: Any = None,
    *,
    flops: Callable[..., float] | None = None,
    parts: Callable[..., int] | None = None,
    as_rows: bool = False,
) -> Any:
    """A kernel of one device, run on all devices of this process in parallel, one thread a device.

    The decorated function is compiled, once for each combination of dtypes and numbers of axes; it gets the block of
    each `ShardedArray` argument (a block of shape () as a number) and all other arguments as they are, writes to its
    output blocks and returns nothing.

    Parameters
    ----------
    function : function that Numba compiles, with any number of arguments; a kernel of `fastcore._core.jit` keeps its
        options. Blocks are C-contiguous arrays, those of float16 and bfloat16 as float32 and rounded when it is done.
        Arguments that are not sharded are numbers, or arrays, which must not be written.
    flops : function of the same arguments, blocks given as `ShardedArray`s (use their block_shape), that answers the
        floating-point operations of one device, for the cost model; without, `Mesh.report` calls them unknown and
        leaves them out of its times
    parts : function of the same arguments, optional: into how many parts the work of one device can be cut, for where
        there are fewer devices than threads. The kernel then gets two more arguments, part and parts, at the end.
    as_rows : whether blocks of any number of axes but 0 come as matrices, all axes but the last one taken together; so
        one compiled instance serves all of them

    Returns
    -------
    function of the same arguments (without the two), that returns None

    Raises
    ------
    TypeError, by the returned function : too few or too many arguments, none of them sharded, one of a wrong kind, or
        the kernel cannot be compiled for them
    ValueError, by the returned function : arguments are on different meshes
    Exception : what the kernel raises on the first device that fails; outputs are undefined then

    Notes
    -----
    Compiled code does not check indices: a kernel that writes outside its blocks may end the process. With
    NUMBA_BOUNDSCHECK=1 in the environment, for while it is written, it raises IndexError instead.

    On a dry mesh arguments are checked and flops counted, nothing is compiled. Inside another launch, and for little
    work, devices run one after another. The result is the same, bit for bit, on any number of threads.
    """
    if function is None:
        return functools.partial(device_kernel, flops=flops, parts=parts, as_rows=as_rows)
    check.device_function(function)
    run = DeviceKernel(function, flops, parts, as_rows)
    return functools.update_wrapper(run, getattr(function, "py_func", function))


def device_function(function: Any = None, *, flops: Callable[..., float] | None = None) -> Any:
    """The same in Python, one device after another: for functions that use all threads themselves."""
    if function is None:
        return functools.partial(device_function, flops=flops)
    check.device_function(function)

    @functools.wraps(function)
    def run(*arguments: Any) -> None:
        mesh, _ = _begin(function.__name__, flops, arguments)
        if mesh.is_dry:
            return
        for device in range(mesh.n_local):
            blocks = [each.local[device] if isinstance(each, ShardedArray) else each for each in arguments]  # type: ignore
            function(*blocks)

    return run


def _begin(name: str, flops: Callable[..., float] | None, arguments: tuple[Any, ...]) -> tuple[Mesh, float]:
    """The mesh of a call, and the flops of a device, which are entered."""
    mesh = check.device_arguments(name, [each.mesh for each in arguments if isinstance(each, ShardedArray)])
    work = None if flops is None else float(flops(*arguments))
    mesh.ledger.add(mesh, "compute", flops=work, name=name)
    return mesh, work or 0.0


class DeviceKernel:
    """What `device_kernel` returns."""

    __name__: str

    def __init__(
        self,
        function: Any,
        flops: Callable[..., float] | None,
        parts: Callable[..., int] | None,
        as_rows: bool,
    ) -> None:
        self._kernel = function if hasattr(function, "py_func") else kernel(function)
        self._flops = flops
        self._parts = parts
        self._as_rows = as_rows
        self._runs: dict[str, tuple[Any, int]] = {}
        taken = list(inspect.signature(getattr(function, "py_func", function)).parameters.values())
        self._parameters = taken[: -2 if parts is not None else None]
        self._fewest = sum(each.default is each.empty for each in self._parameters)

    def __call__(self, *arguments: Any) -> None:
        if not self._fewest <= len(arguments) <= len(self._parameters):
            check.number_of_arguments(self.__name__, [each.name for each in self._parameters], len(arguments))
        mesh, work = _begin(self.__name__, self._flops, arguments)
        values = [self._values(place, each) for place, each in enumerate(arguments)]
        if mesh.is_dry or mesh.n_local == 0:
            return
        wide: dict[int, np.ndarray] = {}
        stacked = [isinstance(each, ShardedArray) for each in arguments]
        given = [_widened(each, wide) for each in values]
        most = 1 if self._parts is None else max(1, self._parts(*arguments))
        if config.DISABLE_JIT:
            self._interpret(mesh.n_local, given, stacked)
        else:
            self._launch(mesh.n_local, given, stacked, work, most)
        for each, is_sharded in zip(values, stacked):
            if is_sharded and id(each) in wide and each.flags.writeable:
                each[...] = wide[id(each)]

    def _values(self, place: int, argument: Any) -> np.ndarray:
        """The memory of an argument, blocks stacked; of one on a dry mesh nothing."""
        if isinstance(argument, ShardedArray):
            dtype, values = argument.dtype, argument.local if argument.local is not None else np.empty(0)
        else:
            values = check.plain_argument(self.__name__, place, argument)
            dtype = values.dtype
        if not (dtype.char in COMPILED_TYPES and dtype.isnative) and not _is_half(dtype):
            check.kernel_dtype(self.__name__, place, dtype)
        return values

    def _interpret(self, devices: int, values: list[np.ndarray], stacked: list[bool]) -> None:
        """Without the compiler."""
        extra = () if self._parts is None else (0, 1)
        for device in range(devices):
            blocks = [each[device] if is_sharded else each[()] for each, is_sharded in zip(values, stacked)]
            if self._as_rows:
                blocks = [_as_rows(block) for block in blocks]
            self._kernel(*blocks, *extra)

    def _launch(self, devices: int, values: list[np.ndarray], stacked: list[bool], flops: float, most: int) -> None:
        entries = [entry(*each, self._as_rows) for each in zip(values, stacked)]
        layout = " ".join(text for text, _ in entries)
        if layout not in self._runs:
            self._runs[layout] = self._compile(layout)
        run, address = self._runs[layout]
        work_ns = NS_PER_BYTE * sum(each.nbytes for each in values)
        work_ns = max(work_ns, devices * NS_PER_FLOP * flops) if self._flops is not None else devices * UNKNOWN_NS
        workers = 1
        try:  # from the claim on: an interrupt in between would keep the launch for ever
            workers = threads.begin(work_ns) if devices * most > 1 else 1
            parts = min(most, math.ceil(ITEMS_PER_WORKER * workers / devices)) if workers > 1 else 1
            table = np.array([parts, *(number for _, numbers in entries for number in numbers)], np.int64)
            items = devices * parts
            if workers == 1:
                self._run(run, table, 0, items)
                return
            failed = np.zeros(items, np.bool_)
            counter = np.zeros(1, np.int64)
            run_in_parallel(address, min(workers, items), table, items, counter, failed)
        finally:
            if workers > 1:
                threads.end()
        if failed.any():
            # An exception does not leave a parallel loop: the first device that failed runs again, here.
            item = int(failed.argmax())
            self._run(run, table, item, item + 1)
            check.failed_once(self.__name__, item // parts)

    def _run(self, run: Any, table: np.ndarray, first: int, end: int) -> None:
        try:
            run(table, first, end)
        except Exception as error:  # whatever a user's kernel raises
            error.add_note(f"raised by device_kernel {self.__name__}")
            raise

    def _compile(self, layout: str) -> tuple[Any, int]:
        try:
            return compiled_run(self._kernel, layout, self._parts is not None)
        except NumbaError as error:
            check.not_compiled(self.__name__, error)


def _is_half(dtype: np.dtype) -> bool:
    return dtype.char == "e" or (dtype.kind == "V" and dtype.name == "bfloat16")  # a name takes 2 us


def _as_rows(block: Any) -> Any:
    """A block of any number of axes but 0 as a matrix, which shares its memory."""
    return block if np.ndim(block) == 0 else block.reshape(math.prod(block.shape[:-1]), block.shape[-1])


def _widened(values: np.ndarray, wide: dict[int, np.ndarray]) -> np.ndarray:
    """Values that compiled code can read: of two bytes, in float32, once for an array that comes twice."""
    if not _is_half(values.dtype):
        return values
    if id(values) not in wide:
        wide[id(values)] = values.astype(np.float32)
    return wide[id(values)]
