"""A model in stages on parts of a mesh, through which micro-batches flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_sharding_pipeline as check
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import accumulator_dtype, transfer
from fastcore.sharding.cost import Seconds, span_seconds
from fastcore.sharding.ledger import Interval, Recording, Span
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.schedule import (
    FORWARD,
    KINDS,
    Action,
    Timeline,
    pipeline_schedule,
    simulate_schedule,
    target_of,
)

__all__ = ["PipelineResult", "pipeline"]

RUN, SEND = "", "send "


class PipelineResult(NamedTuple):
    """What `pipeline` gives.

    loss: sum over the micro-batches, float64 blocks of shape () on the last stage's mesh; None without a loss function.
    grads: for each stage, name → gradient on the stage's mesh, summed over the micro-batches, in at least float32; of
    no names without a loss. outputs: of the last stage for each micro-batch; none with a loss. lower, upper: modelled
    times, where a stage computes and communicates at once and goes on while it sends, and where it does all in turn.
    """

    loss: ShardedArray | None
    grads: list[dict[str, ShardedArray]]
    outputs: list[ShardedArray]
    lower: Timeline
    upper: Timeline


def pipeline(
    stages: Sequence[Any],
    microbatches: Sequence[ShardedArray],
    schedule: str = "1f1b",
    *,
    loss: Callable[..., tuple[ShardedArray, ShardedArray]] | None = None,
    targets: Sequence[Any] | None = None,
) -> PipelineResult:
    """Run micro-batches through the stages of a model: forward only, or forward, loss and backward.

    Parameters
    ----------
    stages : layers in order, each with `params`, ``forward(x) -> (y, saved)`` and ``backward(saved, grad_y) ->
        (grad_x, grads)``. On p parts of a mesh, stage k's params are on that of stage k % p: ``mesh.at(pp=k % p)``. A
        stage without params has an attribute `mesh`.
    microbatches : m arrays on the first stage's mesh
    schedule : "gpipe", "1f1b": p stages. "interleaved": v p stages, m a multiple of p. See `pipeline_schedule`.
    loss : ``loss(y, target) -> (value, grad_y)`` on the last stage's mesh, value of blocks of shape (); None: no
        backward passes
    targets : m arguments of `loss`; None: it is called with y alone

    Returns
    -------
    PipelineResult. Loss and gradients are sums over micro-batches, in ascending order in every schedule, so the bits do
    not depend on it: let `loss` divide by all rows of the batch, if a mean is wanted.

    Raises
    ------
    ValueError : stages, meshes or numbers that do not fit the schedule; a stage's output, gradients or loss of another
        mesh or shape than they must have; what stages raise, with a note which stage it was. On all ranks alike.
    TypeError : stages are not layers, micro-batches not arrays of a mesh

    Notes
    -----
    A stage's saved activations live from its forward to its backward pass, so memory follows the schedule. On a dry
    mesh micro-batches of the same shapes run once and are entered into the ledger m times; with the other engines each
    process does what its stages have to do and goes on as soon as its inputs have come.
    """
    check.loss_function(loss)
    meshes, devices = check.stage_meshes(stages, loss is not None)
    check.microbatches(microbatches, meshes[0])
    check.targets(targets, loss is not None, len(microbatches))
    chunks, m = len(stages), len(microbatches)
    actions = pipeline_schedule(schedule, devices, m, chunks // devices, backward=loss is not None)
    run = _Run(stages, meshes, microbatches, loss, targets)
    first = len(run.ledger.entries)
    for what, action in _program(actions, chunks):
        run.step(what, action)
    lower, upper = _timelines(run, actions)
    run.ledger.add_pipeline(first, _intervals(run, lower), _intervals(run, upper))
    return PipelineResult(None if loss is None else run.loss_sum, run.grads, run.outputs, lower, upper)


def _program(actions: list[list[Action]], chunks: int) -> list[tuple[str, Action]]:
    """All actions and sendings in the one order in which every process goes through them.

    In order of nominal time, backward passes twice as long as forward ones. A result is sent when its action has ended,
    before all that begins then: a process that waits for it has done what it could do before.
    """
    devices = len(actions)
    nominal = simulate_schedule(actions, 1.0, 2.0)
    events = []
    for device, row in enumerate(actions):
        for action in row:
            kind, chunk, i = action
            events.append((nominal.start[kind][chunk, i], 1, device, RUN, action))
            target = target_of(kind, chunk, chunks)
            if target is not None and target[1] % devices != device:
                events.append((nominal.end[kind][chunk, i], 0, device, SEND, action))
    return [event[3:] for event in sorted(events)]


class _Run:
    """The state between actions.

    inputs: of actions that have not run. results: on the stage that made them, to be sent. saved: by stage and
    micro-batch, between forward and backward.
    """

    def __init__(
        self,
        stages: Sequence[Any],
        meshes: list[Mesh],
        microbatches: Sequence[ShardedArray],
        loss: Any,
        targets: Sequence[Any] | None,
    ) -> None:
        self.stages, self.meshes, self.loss, self.targets = stages, meshes, loss, targets
        self.ledger = meshes[0].ledger
        self.num_microbatches = len(microbatches)
        self.inputs = {Action(FORWARD, 0, i): x for i, x in enumerate(microbatches)}
        self.results: dict[Action, ShardedArray] = {}
        self.saved: dict[tuple[int, int], Any] = {}
        self.shapes_of_x: dict[tuple[int, int], Any] = {}
        self.outputs: list[ShardedArray] = []
        self.loss_sum = meshes[-1].zeros((), np.float64)
        self.grads = [{} if loss is None else _zeros_like(stage.params) for stage in stages]
        self.spans: dict[tuple[str, Action], Span] = {}
        self.twin = self._twins(microbatches)
        self.recordings: dict[tuple[str, Action], Recording] = {}

    def _twins(self, microbatches: Sequence[ShardedArray]) -> list[int]:
        """For each micro-batch the one that is run in its place: another only on a dry mesh, where shapes are all."""
        if not self.meshes[0].is_dry or self.loss is None:
            return list(range(len(microbatches)))
        first: dict[Any, int] = {}
        targets = self.targets or [None] * len(microbatches)
        return [
            first.setdefault((check.signature(x), check.signature(target)), i)
            for i, (x, target) in enumerate(zip(microbatches, targets))
        ]

    def step(self, what: str, action: Action) -> None:
        """Do it, or enter it again."""
        kind, chunk, i = action
        twin = Action(kind, chunk, self.twin[i])
        # The same scope for all micro-batches: then the ledger keeps equal entries once.
        with self.ledger.scope(f"stage {chunk}", what + kind) as span:
            if twin != action:
                self.ledger.replay(self.recordings[what, twin])
            elif self.meshes[0].is_dry:
                with self.ledger.recording() as self.recordings[what, action]:
                    self._do(what, action)
            else:
                self._do(what, action)
        self.spans[what, action] = span

    def _do(self, what: str, action: Action) -> None:
        # Arrays that an action drops are gone when this returns: inside the scope, as the ledger wants it.
        if what == SEND:
            self._send(action)
        elif action.kind == FORWARD:
            self._forward(action)
        else:
            self._backward(action)

    def _forward(self, action: Action) -> None:
        _, chunk, i = action
        x = self.inputs.pop(action)
        with _noted(action, repr(x)):
            y, saved = self.stages[chunk].forward(x)
            check.output_of_stage(y, chunk, self.meshes[chunk])
        if self.loss is not None:
            self.saved[chunk, i] = saved
            self.shapes_of_x[chunk, i] = check.signature(x)
        elif chunk == len(self.stages) - 1:
            self.outputs.append(y)
            return
        self._hand_on(action, y)

    def _backward(self, action: Action) -> None:
        _, chunk, i = action
        with _noted(action, repr(self.inputs[action])):
            # Both are given away, so that what backward drops early is gone early.
            grad_x, grads = self.stages[chunk].backward(self.saved.pop((chunk, i)), self._gradient(action))
            check.gradients_of_stage(grad_x, grads, chunk, self.shapes_of_x.pop((chunk, i)), self.grads[chunk])
        grads = dict(grads)
        for name, total in self.grads[chunk].items():
            _accumulate(total, grads.pop(name))
        if chunk > 0:
            self._hand_on(action, grad_x)

    def _gradient(self, action: Action) -> ShardedArray:
        """By the output of the stage: what came, or of the last stage the loss's, whose output came."""
        given = self.inputs.pop(action)
        if action.chunk < len(self.stages) - 1:
            return given
        results = self.loss(given) if self.targets is None else self.loss(given, self.targets[action.microbatch])
        value, grad_y = check.loss_and_gradient(results, given)
        _accumulate(self.loss_sum, value)
        return grad_y

    def _hand_on(self, action: Action, result: ShardedArray) -> None:
        target = self._target(action)
        if check.same_devices(self.meshes[action.chunk], self.meshes[target.chunk]):
            self.inputs[target] = result
        else:
            self.results[action] = result

    def _send(self, action: Action) -> None:
        target = self._target(action)
        self.inputs[target] = transfer(self.results.pop(action), self.meshes[target.chunk])

    def _target(self, action: Action) -> Action:
        """The action that the result is for; of the last one, which hands on nothing, itself."""
        kind, chunk, microbatch = action
        return Action(*(target_of(kind, chunk, len(self.stages)) or (kind, chunk)), microbatch)


@contextmanager
def _noted(action: Action, given: str) -> Iterator[None]:
    """Errors say where in the pipeline they arose. given: what the stage got; not the array, which it may drop."""
    try:
        yield
    except Exception as error:
        error.add_note(f"In the {action.kind} pass of stage {action.chunk}, micro-batch {action.microbatch}: {given}.")
        raise


def _zeros_like(params: Any) -> dict[str, ShardedArray]:
    return {name: each.zeros_like(accumulator_dtype(each.dtype)) for name, each in params.items()}


def _accumulate(total: ShardedArray, value: ShardedArray) -> None:
    total.mesh.ledger.add(total.mesh, "compute", flops=math.prod(total.block_shape), name="accumulate")
    if total.local is not None:
        total.local += value.local


# --- modelled time --------------------------------------------------------------------------------------------------


def _timelines(run: _Run, actions: list[list[Action]]) -> tuple[Timeline, Timeline]:
    """The schedule played with modelled times: computing and communicating at once, and in turn."""
    shape = len(run.stages), run.num_microbatches
    bounds = np.zeros((2, 2, *shape))  # of forward and backward passes
    sending = np.zeros((2, *shape))
    known: dict[tuple[str, Action], Seconds] = {}
    for (what, action), span in run.spans.items():
        twin = what, action._replace(microbatch=run.twin[action.microbatch])
        if twin not in known:
            known[twin] = span_seconds(run.ledger.entries[span.first : span.last])
        seconds, place = known[twin], (KINDS.index(action.kind), action.chunk, action.microbatch)
        if what == SEND:
            sending[place] = seconds.transfer
        else:
            bounds[0][place], bounds[1][place] = seconds.lower, seconds.upper
    lower, upper = (
        simulate_schedule(
            actions,
            *bounds[which],
            forward_transfer_s=sending[0],
            backward_transfer_s=sending[1],
            blocking=which == 1,
        )
        for which in range(2)
    )
    return lower, upper


def _intervals(run: _Run, timeline: Timeline) -> list[Interval]:
    """When each step was done, for the report."""
    intervals = []
    for (what, action), span in run.spans.items():
        kind, chunk, i = action
        starts, ends = (timeline.end, timeline.arrival) if what == SEND else (timeline.start, timeline.end)
        start_s, end_s = float(starts[kind][chunk, i]), float(ends[kind][chunk, i])
        intervals.append(Interval(f"{what}{kind} {i}", span, run.meshes[chunk], start_s, end_s))
    return intervals
