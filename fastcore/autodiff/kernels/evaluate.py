"""One kernel for each straight-line program over the elements of arrays.

A program is text, "inputs constants|operation operand ...;...|output ...": its values are numbered, inputs first,
then constants, then results in order; 0.0, 1.0 and the like stand for themselves. "2 1|multiply 0 2;sin 3|3 4" reads x
and y, and writes x * c and sin(x * c). Being text, it is a literal to Numba, whose intrinsic emits the operations into
one loop over vectors, and a part of the key under which the code is kept on disk. What finds elements and threads is
compiled once for all programs, and calls a program's code by its address.
"""

import collections
import functools
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd.types import Vector, splat, vector_type
from fastcore._core.tile import lanes_of
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.autodiff.kernels.operations import ELEMENTARY, OPERATIONS, RESULTS

# Elements of an item: 4 us of work for the cheapest programs, and the rows of an item of short rows.
ITEM_ELEMENTS = 8192
# The same where results are written past the caches: long stretches keep the prefetcher's streams.
STREAMED_ELEMENTS = 65536
# Elementary functions of a program up to which all are put in at their places: calls run 1.4 times as long.
MOST_IN_PLACE = 64
# Entries of a plan before the lengths of its axes.
HEAD = 5


class Program(NamedTuple):
    """A program taken apart; operands are numbers of values or literals."""

    inputs: int
    constants: int
    instructions: tuple[tuple[str, tuple[int | float, ...]], ...]
    outputs: tuple[int | float, ...]


def _operand(word):
    return float(word) if "." in word else int(word)


@functools.lru_cache(64)
def parsed(text):
    """The program in a text."""
    head, body, tail = text.split("|")
    inputs, constants = map(int, head.split())
    lines = [line.split() for line in body.split(";") if line]
    instructions = tuple((name, tuple(map(_operand, operands))) for name, *operands in lines)
    return Program(inputs, constants, instructions, tuple(map(_operand, tail.split())))


def run(program, values, literal, apply):
    """The outputs; ``values`` holds inputs and constants, ``apply(name, operands)`` computes an operation."""

    def value_of(operand):
        return literal(operand) if isinstance(operand, float) else values[operand]

    for name, operands in program.instructions:
        result = apply(name, [value_of(each) for each in operands])
        values.extend(result if RESULTS.get(name, 1) > 1 else [result])
    return [value_of(each) for each in program.outputs]


class _Calls:
    """Calls of operations in compiled code, each looked up once.

    In a program of many elementary functions each is a function of its own: put in at their places, a hundred sines and
    cosines took 23 s to compile, and take 0.2 so.
    """

    def __init__(self, context, builder, program):
        self._context, self._builder, self._known = context, builder, {}
        counts = collections.Counter(name for name, _ in program.instructions if name in ELEMENTARY)
        many = sum(counts.values()) > MOST_IN_PLACE
        self._called = {name for name, count in counts.items() if many and count > 1}

    def apply(self, name, operands):
        """Emit one; operands and the result, or results, are pairs of type and value."""
        kinds = tuple(kind for kind, _ in operands)
        if (name, kinds) not in self._known:
            self._known[name, kinds] = self._resolved(name, kinds)
        result_type, call = self._known[name, kinds]
        result = call(self._builder, [value for _, value in operands])
        if isinstance(result_type, types.BaseTuple):
            return list(zip(result_type, cgutils.unpack_tuple(self._builder, result)))
        return result_type, result

    def _resolved(self, name, kinds):
        typing = self._context.typing_context
        operation = typing.resolve_value_type(OPERATIONS[name])
        sig = operation.get_call_type(typing, kinds, {})
        implementation = self._context.get_function(operation, sig)
        self._context.add_linking_libs(getattr(implementation, "libs", ()))
        if name not in self._called:
            return sig.return_type, implementation
        function = self._function(name, kinds, sig.return_type, implementation)
        return sig.return_type, lambda builder, operands: builder.call(function, operands)

    def _function(self, name, kinds, result_type, implementation):
        module, value_type = self._builder.module, self._context.get_value_type
        signature = ir.FunctionType(value_type(result_type), list(map(value_type, kinds)))
        function = ir.Function(module, signature, module.get_unique_name(f"fastcore.{name}"))
        function.linkage = "internal"
        function.attributes.add("noinline")
        body = ir.IRBuilder(function.append_basic_block())
        body.ret(implementation(body, function.args))
        return function


def _load_entries(builder, pointer, count):
    """The first entries behind a pointer, loaded once: the loop's stores could overwrite them, for all LLVM knows."""
    index = ir.IntType(64)
    return [builder.load(builder.gep(pointer, [ir.Constant(index, i)])) for i in range(count)]


def _emit_blocks(context, builder, vector, program, args):
    """The loop over blocks: all inputs are read before the first output is written."""
    table, constants, blocks, streamed = args
    kind, itemsize = vector_type(vector), vector.dtype.bitwidth // 8
    operands = program.inputs + len(program.outputs)
    entries = _load_entries(builder, table, 2 * operands)
    places = list(zip(entries[::2], entries[1::2]))
    fixed = [(vector, splat(builder, c, vector.lanes)) for c in _load_entries(builder, constants, program.constants)]

    def literal(number):
        return vector, ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)

    with cgutils.for_range(builder, blocks, intp=ir.IntType(64)) as loop:
        addresses = [builder.add(start, builder.mul(loop.index, step)) for start, step in places]
        pointers = [builder.inttoptr(each, kind.as_pointer()) for each in addresses]
        values = [(vector, builder.load(each, align=itemsize)) for each in pointers[: program.inputs]]
        calls = _Calls(context, builder, program)
        results = [value for _, value in run(program, values + fixed, literal, calls.apply)]
        targets = pointers[program.inputs :]
        with builder.if_else(streamed) as (past_caches, through_caches):
            with past_caches:
                once = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                for target, value in zip(targets, results):
                    builder.store(value, target, align=itemsize * kind.count).set_metadata("nontemporal", once)
            with through_caches:
                for target, value in zip(targets, results):
                    builder.store(value, target, align=itemsize)


def _evaluate_typing(typingctx, program, lanes, table, constants, blocks, streamed):
    if not isinstance(program, types.StringLiteral):
        return None
    vector = Vector(constants.dtype, lanes.literal_value)
    sig = types.void(program, lanes, table, constants, types.int64, types.boolean)

    def codegen(context, builder, sig, args):
        flag = builder.trunc(args[5], ir.IntType(1)) if args[5].type != ir.IntType(1) else args[5]
        _emit_blocks(context, builder, vector, parsed(program.literal_value), [*args[2:5], flag])
        return context.get_dummy_value()

    return sig, codegen


def _evaluate_in_python(program, lanes, table, constants, blocks, streamed):
    program = parsed(program)
    operands = program.inputs + len(program.outputs)
    entries = table.elements(2 * operands).reshape(-1, 2)
    fixed = [simd.broadcast(each, lanes) for each in constants.elements(program.constants)]
    for block in range(blocks):
        pointers = [simd.pointer_at(start + block * step, constants.dtype) for start, step in entries]
        values = [simd.load(each, lanes) for each in pointers[: program.inputs]]
        literal = functools.partial(simd.broadcast, lanes=lanes, dtype=constants.dtype)
        results = run(program, values + fixed, literal, lambda name, operands: OPERATIONS[name](*operands))
        for target, value in zip(pointers[program.inputs :], results):
            simd.store(target, value)


def _evaluate_blocks():
    if config.DISABLE_JIT:
        return _evaluate_in_python
    _evaluate_typing.__name__ = "evaluate_blocks"
    _evaluate_typing.__doc__ = """Evaluate a program on whole vectors.

    ``table`` points to pairs of integers, the address and the bytes to the next block, of each input and output.
    """
    return intrinsic(prefer_literal=True)(_evaluate_typing)


evaluate_blocks = _evaluate_blocks()


@kernel
def place_row(plan, row, start, table, scratch):
    """Write where the operands of a row begin, and their bytes a block, to ``table``.

    What does not change along the row is repeated over a block in ``scratch``.
    """
    axes, origin = plan[0], simd.pointer(scratch)
    lanes = lanes_of(origin)
    for k in range(table.size // 3):
        place = HEAD + axes + k * (2 + axes)
        address, step, rest = plan[place], plan[place + 1], row
        for axis in range(axes - 1, -1, -1):
            address += rest % plan[HEAD + axis] * plan[place + 2 + axis]
            rest //= plan[HEAD + axis]
        table[2 * k + 1] = step * lanes
        if step == 0:
            slot = simd.advance(origin, k * lanes)
            value = simd.load_scalar(simd.pointer_at(address, scratch.dtype))
            simd.store(slot, simd.broadcast(value, lanes))
            address = simd.address_of(slot)
        table[2 * k] = address + start * step


@kernel
def move_rest(table, scratch, inputs, whole, rest):
    """Let the table say ``scratch``, to which the elements behind the whole blocks are copied."""
    origin, operands = simd.pointer(scratch), table.size // 3
    lanes = lanes_of(origin)
    for k in range(operands):
        step = table[2 * k + 1]
        if step != 0:
            slot, address = simd.advance(origin, k * lanes), table[2 * k] + whole * step
            if k < inputs:
                simd.store(slot, simd.load_first(simd.pointer_at(address, scratch.dtype), lanes, rest))
            table[2 * k], table[2 * operands + k] = simd.address_of(slot), address


@kernel
def put_rest(table, scratch, inputs, rest):
    """Copy the outputs of `move_rest` to where they belong."""
    origin, operands = simd.pointer(scratch), table.size // 3
    lanes = lanes_of(origin)
    for k in range(inputs, operands):
        address = table[2 * operands + k]
        value = simd.load(simd.advance(origin, k * lanes), lanes)
        simd.store_first(simd.pointer_at(address, scratch.dtype), value, rest)


def _items(dtype, lanes):
    """The body that applies any program to arrays of one dtype."""

    def evaluate_items(program, plan, constants, counter):
        """Take spans of rows until none is left; ``program`` is an address, `fastcore.autodiff.arrays` writes plans."""
        axes, size, streamed, inputs, per_span = plan[0], plan[1], plan[2] != 0, plan[3], plan[4]
        rows = 1
        for axis in range(axes):
            rows *= plan[HEAD + axis]
        operands = (plan.size - HEAD - axes) // (2 + axes)
        table = np.empty(3 * operands, np.int64)
        scratch, fixed = np.empty(operands * lanes, dtype), np.empty(constants.size, dtype)
        for i in range(constants.size):
            fixed[i] = constants[i]
        per_item = max(1, per_span // size)
        spans = (size + per_span - 1) // per_span
        item = next_item(counter, -1)
        while item // spans * per_item < rows:
            start = item % spans * per_span
            count = min(size - start, per_span)
            whole, rest = count // lanes, count % lanes
            # Here and not before the loop: Numba frees an array behind its last use, and addresses are no use.
            to_table, to_fixed = simd.address_of(simd.pointer(table)), simd.address_of(simd.pointer(fixed))
            for row in range(item // spans * per_item, min((item // spans + 1) * per_item, rows)):
                place_row(plan, row, start, table, scratch)
                if whole > 0:
                    call_by_address(program, (to_table, to_fixed, whole, streamed))
                if rest > 0:  # one more block, of copies: the same code, so the same bits wherever an element is
                    move_rest(table, scratch, inputs, whole, rest)
                    call_by_address(program, (to_table, to_fixed, 1, False))
                    put_rest(table, scratch, inputs, rest)
            item = next_item(counter, item)

    return evaluate_items


def evaluate_parallel(body, workers, program, plan, constants, counter):
    """The body in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (program, plan, constants, counter))


_ARGUMENTS = [
    types.int64,
    types.Array(types.int64, 1, "C", readonly=True),
    types.Array(types.float64, 1, "C", readonly=True),
]
_F32 = SharedWork(_items(np.float32, int(simd.F32_LANES)), evaluate_parallel, _ARGUMENTS)
_F64 = SharedWork(_items(np.float64, int(simd.F64_LANES)), _F32, _ARGUMENTS)


_SIGNATURE = types.void(types.int64, types.int64, types.int64, types.boolean)


def _blocks(program, dtype, lanes):
    """The code of one program: all it closes over is constant, so that it can be kept on disk."""

    def evaluate_program(table, constants, blocks, streamed):
        to_table, to_constants = simd.pointer_at(table, np.int64), simd.pointer_at(constants, dtype)
        evaluate_blocks(program, lanes, to_table, to_constants, blocks, streamed)
        if streamed:
            simd.stream_fence()

    return evaluate_program


def place(plan, number, array, parts):
    """Write into a plan of one axis where ``parts`` operands are that share an array; whether a kernel can read them.

    They are numbered from ``number`` on, inputs before outputs.
    """
    itemsize, size = array.itemsize, array.size // parts
    plan[0], plan[1], plan[3], plan[4] = 0, size, number, ITEM_ELEMENTS
    address = simd.address_of(simd.pointer(array))
    for part in range(parts):
        plan[HEAD + 2 * (number + part)] = address + part * size * itemsize
        plan[HEAD + 2 * (number + part) + 1] = itemsize
    return address % itemsize == 0 and array.strides[0] == itemsize


def _place(dtype):
    arguments = types.Array(types.int64, 1, "C"), types.int64, types.Array(dtype, 1, "A", readonly=True), types.int64
    return Direct(place, types.boolean(*arguments))


PLACE = {np.dtype(np.float32): _place(types.float32), np.dtype(np.float64): _place(types.float64)}


class Evaluation:
    """A program made ready for float32 or float64."""

    def __init__(self, program, dtype):
        is_f32 = dtype == np.float32
        lanes = int(simd.F32_LANES if is_f32 else simd.F64_LANES)
        self._program = Direct(_blocks(program, np.float32 if is_f32 else np.float64, lanes), _SIGNATURE)
        self._work = _F32 if is_f32 else _F64

    def __call__(self, work_ns, plan, constants):
        """Apply it to the arrays of a plan; ``work_ns`` as in `SharedWork`, ``constants`` in float64."""
        self._work(work_ns, self._program.address, plan, constants)
