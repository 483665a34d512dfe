"""In which order the stages of a pipeline work, and how long that takes.

A model of p * v chunks lies on p devices: chunk c on device c % p, so each device has v. A batch is cut into m
micro-batches. Every chunk runs forward, later backward, once for each micro-batch; in all schedules here a chunk takes
micro-batches in ascending order both ways, so that gradients are summed in one order and come out the same bit for bit.

Source: Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM",
sections 2.2.1 (GPipe, and 1F1B from PipeDream-Flush) and 2.2.2 (interleaved).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_sharding_pipeline as check
from fastcore._core.validate_sharding_cost import count

__all__ = ["Action", "Timeline", "pipeline_bubble", "pipeline_in_flight", "pipeline_schedule", "simulate_schedule"]

FORWARD, BACKWARD = KINDS = ("forward", "backward")


class Action(NamedTuple):
    """One pass of one micro-batch through one chunk.

    kind: "forward" or "backward". chunk: 0 … p v − 1. microbatch: 0 … m − 1.
    """

    kind: str
    chunk: int
    microbatch: int


class Timeline(NamedTuple):
    """What an event simulation of a schedule gives.

    seconds: from the first start to the last end. busy: (p,) seconds each device computes. in_flight: (p,) int, most
    forward passes of chunks a device has begun whose backward pass has not ended. start, end, arrival: kind → (chunks,
    m) seconds, when an action begins and ends to compute, and when its result is where it is needed.
    """

    seconds: float
    busy: np.ndarray
    in_flight: np.ndarray
    start: dict[str, np.ndarray]
    end: dict[str, np.ndarray]
    arrival: dict[str, np.ndarray]

    @property
    def bubble(self) -> float:
        """Seconds devices do not compute, over those they do: t_pb / t_id of the paper where stages are even."""
        busy = float(self.busy.sum())
        return len(self.busy) * self.seconds / busy - 1.0 if busy > 0.0 else 0.0


def pipeline_schedule(
    schedule: str, devices: int, microbatches: int, chunks: int = 1, *, backward: bool = True
) -> list[list[Action]]:
    """What each device of a pipeline does, in order.

    Parameters
    ----------
    schedule : "gpipe": all forward passes, then all backward passes. "1f1b": after p − 1 − device forward passes one
        forward and one backward pass in turn. "interleaved": the same over `chunks` chunks a device, in groups of p
        micro-batches.
    devices : int, p
    microbatches : int, m; for "interleaved" a multiple of p
    chunks : int, v, on each device; 1 unless "interleaved"
    backward : whether there are backward passes

    Returns
    -------
    list of p lists of Action

    Raises
    ------
    ValueError : unknown schedule, a number below 1, chunks > 1 or m not a multiple of p where they must not be
    TypeError : a number is not an integer, schedule is not a string
    """
    devices, microbatches = count(devices, "devices"), count(microbatches, "microbatches")
    chunks = count(chunks, "chunks")
    check.schedule_fits(schedule, devices, microbatches, chunks)
    total = microbatches * chunks
    group = devices if schedule == "interleaved" else microbatches
    rows = []
    for device in range(devices):
        forward, backwards = [], []
        for turn in range(total):
            # Groups of p micro-batches pass through all chunks of a device before the next group begins (figure 4).
            round_, place = divmod(turn, group * chunks)
            chunk, member = divmod(place, group)
            microbatch = round_ * group + member
            forward.append(Action(FORWARD, chunk * devices + device, microbatch))
            backwards.append(Action(BACKWARD, (chunks - 1 - chunk) * devices + device, microbatch))
        warm_up = min(_warm_up(schedule, devices, device, chunks), total) if backward else total
        row = forward[:warm_up]
        for one, other in zip(forward[warm_up:], backwards):
            row += (one, other)
        rows.append(row + backwards[total - warm_up :] if backward else row)
    return rows


def _warm_up(schedule: str, devices: int, device: int, chunks: int) -> Any:
    """Forward passes before the first backward pass, where there are so many micro-batches."""
    if schedule == "gpipe":
        return np.inf
    if schedule == "1f1b":
        return devices - 1 - device
    return 2 * (devices - 1 - device) + (chunks - 1) * devices


def pipeline_bubble(devices: int, microbatches: int, chunks: int = 1) -> float:
    """Idle time over ideal time, (p − 1) / (v m), of all three schedules with even stages and free transfers.

    Parameters
    ----------
    devices, microbatches, chunks : int, p, m and v, see `pipeline_schedule`

    Raises
    ------
    ValueError : a number below 1
    TypeError : a number is not an integer

    Notes
    -----
    Source: Narayanan et al. 2021, sections 2.2.1 and 2.2.2.
    """
    devices, chunks = count(devices, "devices"), count(chunks, "chunks")
    return (devices - 1) / (chunks * count(microbatches, "microbatches"))


def pipeline_in_flight(schedule: str, devices: int, microbatches: int, chunks: int = 1) -> int:
    """How many micro-batches (of one chunk each) device 0 holds activations of, at most.

    m for "gpipe", min(p, m) for "1f1b", min(2 (p − 1) + (v − 1) p + 1, v m) for "interleaved".

    Parameters, Raises : see `pipeline_schedule`

    Notes
    -----
    Source: Narayanan et al. 2021, section 2.2.1; for "interleaved" the warm-up of Megatron-LM's schedule.
    """
    devices, microbatches = count(devices, "devices"), count(microbatches, "microbatches")
    chunks = count(chunks, "chunks")
    check.schedule_fits(schedule, devices, microbatches, chunks)
    return int(min(_warm_up(schedule, devices, 0, chunks) + 1, chunks * microbatches))


def simulate_schedule(
    actions: Sequence[Sequence[Action]],
    forward_s: Any,
    backward_s: Any = 0.0,
    *,
    forward_transfer_s: Any = 0.0,
    backward_transfer_s: Any = 0.0,
    blocking: bool = False,
) -> Timeline:
    """Play a schedule: a device does its actions in order, each as soon as its input is there.

    Parameters
    ----------
    actions : p lists of Action, of `pipeline_schedule` or your own; chunk c on device c % p, each action once
    forward_s, backward_s : seconds of a pass: one number, or (chunks,), or (chunks, m)
    forward_transfer_s : seconds from chunk c to c + 1, in the same forms; none passes where both are on one device
    backward_transfer_s : from chunk c to c − 1
    blocking : whether a device waits for the end of its transfer before its next action, instead of computing on

    Returns
    -------
    Timeline. Where stages are even and transfers free, `bubble` is `pipeline_bubble` and `in_flight[0]` is
    `pipeline_in_flight`.

    Raises
    ------
    ValueError : an action is missing, twice or on another device; the order can never be done; shapes; negative times
    TypeError : times are not numbers

    Notes
    -----
    Transfers from a device to the same other one follow each other: a link carries one message at a time.
    """
    chunks, microbatches = check.actions(actions, KINDS)
    return _play(
        actions,
        {
            FORWARD: check.seconds(forward_s, chunks, microbatches, "forward_s"),
            BACKWARD: check.seconds(backward_s, chunks, microbatches, "backward_s"),
        },
        {
            FORWARD: check.seconds(forward_transfer_s, chunks, microbatches, "forward_transfer_s"),
            BACKWARD: check.seconds(backward_transfer_s, chunks, microbatches, "backward_transfer_s"),
        },
        blocking,
    )


Times = dict[str, list[list[float]]]


def _play(actions: Sequence[Sequence[Action]], compute: Times, transfer: Times, blocking: bool) -> Timeline:
    """`simulate_schedule` on (chunks, m) lists."""
    chunks, microbatches, devices = len(compute[FORWARD]), len(compute[FORWARD][0]), len(actions)
    start, end, arrival, needed = (
        {kind: [[np.inf] * microbatches for _ in range(chunks)] for kind in KINDS} for _ in range(4)
    )
    needed[FORWARD][0] = [0.0] * microbatches  # when the input of an action is there
    positions, free, busy = [0] * devices, [0.0] * devices, [0.0] * devices
    link_free: dict[tuple[int, int], float] = {}
    ready = list(range(devices))
    while ready:  # a device goes on until an input is missing, and is put back when one has come
        device = ready.pop()
        row = actions[device]
        while positions[device] < len(row):
            kind, chunk, microbatch = row[positions[device]]
            there = needed[kind][chunk][microbatch]
            if there == np.inf:
                break
            positions[device] += 1
            begin = max(there, free[device])
            seconds = compute[kind][chunk][microbatch]
            busy[device] += seconds
            free[device] = done = arrived = begin + seconds
            target = target_of(kind, chunk, chunks)
            if target is not None:
                to = target[1] % devices
                if to != device:
                    arrived = max(done, link_free.get((device, to), 0.0)) + transfer[kind][chunk][microbatch]
                    link_free[device, to] = arrived
                    ready.append(to)
                    if blocking:
                        free[device] = arrived
                needed[target[0]][target[1]][microbatch] = arrived
            start[kind][chunk][microbatch], end[kind][chunk][microbatch] = begin, done
            arrival[kind][chunk][microbatch] = arrived
    check.everything_done(actions, positions)
    used = KINDS if any(action.kind == BACKWARD for action in actions[0]) else (FORWARD,)
    return Timeline(
        max(free),
        np.array(busy),
        np.array([_most_in_flight(row) for row in actions]),
        *({kind: np.array(each[kind]) for kind in used} for each in (start, end, arrival)),
    )


def target_of(kind: str, chunk: int, chunks: int) -> tuple[str, int] | None:
    """Kind and chunk of the action that the result goes to; None after the last."""
    if kind == FORWARD:
        return (FORWARD, chunk + 1) if chunk + 1 < chunks else (BACKWARD, chunk)
    return (BACKWARD, chunk - 1) if chunk else None


def _most_in_flight(row: Sequence[Action]) -> int:
    steps = np.array([1 if action.kind == FORWARD else -1 for action in row])
    return int(np.cumsum(steps).max(initial=0))
