"""Running a kernel on the blocks of many devices: serially, or by threads that take the next device when they are done.

A call has any number of arguments of any types. They are described by a *layout*, text such as ``"f4:2 i8:"``, and
found through a *table* of integers, so that one parallel driver, compiled once, runs all kernels:

    table = [parts, then for each argument: address, bytes from device to device, lengths of the block's axes]

An argument that is the same on all devices has 0 bytes from device to device.
"""

import functools
import math
from typing import Any

import numpy as np
from numba import prange, types
from numba.core import config
from numba.extending import intrinsic
from numba.np import numpy_support
from numba.np.arrayobj import make_array, populate_array

from fastcore._core.jit import kernel
from fastcore._core.work import COUNTER, call_by_address, next_item

__all__ = ["compiled_run", "entry", "run_in_parallel"]

TABLE = types.Array(types.int64, 1, "C")


def entry(values: np.ndarray, stacked: bool, as_rows: bool) -> tuple[str, list[int]]:
    """Layout and table entries of an argument: C-contiguous, and if `stacked` with an axis of devices in front.

    Blocks without axes are numbers; memory that must not be written becomes a readonly array. With `as_rows` all axes
    of a block but the last are taken together.
    """
    lengths = values.shape[1:] if stacked else values.shape
    if as_rows and lengths and len(lengths) != 2:
        lengths = (math.prod(lengths[:-1]), lengths[-1])
    stride = values.strides[0] if stacked else 0
    return _text(values.dtype, len(lengths), values.flags.writeable), [values.ctypes.data, stride, *lengths]


@functools.cache
def _text(dtype: np.dtype, ndim: int, writeable: bool) -> str:
    return f"{dtype.str[1:]}:{ndim or ''}{'' if writeable or not ndim else 'r'}"


def _kind(layout: str) -> tuple[Any, int]:
    """Numba type and number of axes of one argument."""
    name, shape = layout.split(":")
    dtype = numpy_support.from_dtype(np.dtype(name))
    if not shape:
        return dtype, 0
    ndim = int(shape.removesuffix("r"))
    return types.Array(dtype, ndim, "C", readonly=shape.endswith("r")), ndim


def _emit_array(context: Any, builder: Any, kind: Any, address: Any, lengths: list[Any]) -> Any:
    """A C-contiguous array over memory that somebody else keeps."""
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [itemsize]
    for length in reversed(lengths[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    array = make_array(kind)(context, builder)
    data = builder.inttoptr(address, array.data.type)
    populate_array(array, data=data, shape=lengths, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


def _arguments(typingctx: Any, table: Any, device: Any, layout: Any) -> Any:
    kinds = [_kind(each) for each in layout.literal_value.split()]
    result = types.Tuple([kind for kind, _ in kinds])

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        numbers = make_array(signature.args[0])(context, builder, values[0]).data
        place = 1  # behind the number of parts
        found = []
        for kind, ndim in kinds:
            slots = [builder.gep(numbers, [context.get_constant(types.intp, place + i)]) for i in range(2 + ndim)]
            start, stride, *lengths = map(builder.load, slots)
            address = builder.add(start, builder.mul(stride, values[1]))
            if ndim:
                found.append(_emit_array(context, builder, kind, address, lengths))
            else:
                pointer = builder.inttoptr(address, context.get_data_type(kind).as_pointer())
                found.append(context.unpack_value(builder, kind, pointer))
            place += 2 + ndim
        return context.make_tuple(builder, result, found)

    return result(table, types.int64, layout), codegen


_arguments.__name__ = "arguments"
_arguments.__doc__ = "The arguments of one device, as a tuple: (table, device, layout: a literal)."
# An intrinsic made under NUMBA_DISABLE_JIT=1 cannot be called; `fastcore.sharding.device` then runs kernels in Python.
arguments: Any = _arguments if config.DISABLE_JIT else intrinsic(prefer_literal=True)(_arguments)


def compiled_run(function: Any, layout: str, divided: bool) -> tuple[Any, int]:
    """``run(table, first, end)``, which calls the kernel for items [first, end), and its address.

    An item is a device, or if `divided` one of the parts of a device's work, whose number and count the kernel gets.
    """

    def run(table, first, end):
        for device in range(first, end):
            function(*arguments(table, device, layout))

    def run_divided(table, first, end):
        parts = table[0]
        for item in range(first, end):
            function(*arguments(table, item // parts, layout), item % parts, parts)

    signature = types.void(TABLE, types.int64, types.int64)
    dispatcher = kernel(run_divided if divided else run)
    dispatcher.compile(signature)
    (compiled,) = dispatcher.overloads.values()
    return dispatcher, compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def _run_in_parallel(run, workers, table, items, counter, failed):
    for _ in prange(workers):
        item = next_item(counter, -1)
        while item < items:
            if not call_by_address(run, (table, item, item + 1)):
                failed[item] = True
            item = next_item(counter, item)


run_in_parallel = kernel(
    signature=types.void(types.int64, types.int64, TABLE, types.int64, COUNTER, types.Array(types.boolean, 1, "C")),
    parallel=True,
)(_run_in_parallel)
