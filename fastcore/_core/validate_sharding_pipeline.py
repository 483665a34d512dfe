"""Checks of pipeline schedules, stages and micro-batches, and the messages they raise."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core.validate import kind_of, shown

SCHEDULES = ("gpipe", "1f1b", "interleaved")


def count(value: Any, name: str) -> int:
    """At least 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer. Got {shown(value)}.") from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name} must be at least 1. Got {shown(value)}.")
    return number


def schedule_fits(schedule: Any, devices: int, microbatches: int, chunks: int) -> None:
    """A known schedule, and what it asks of the numbers."""
    known = ", ".join(map(repr, SCHEDULES))
    if not isinstance(schedule, str):
        raise TypeError(f"schedule must be one of {known}. Got {kind_of(schedule)}.")
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {known}. Got {schedule!r}.")
    if schedule != "interleaved" and chunks > 1:
        raise ValueError(
            f"schedule {schedule!r} has one stage a device. Got {chunks * devices} stages on {devices} devices. Take"
            " schedule='interleaved'."
        )
    if schedule == "interleaved" and microbatches % devices:
        raise ValueError(
            "schedule 'interleaved' needs a number of micro-batches that is a multiple of the devices along the"
            f" pipeline. Got {microbatches} micro-batches on {devices} devices."
        )


def seconds(value: Any, chunks: int, microbatches: int, name: str) -> list[list[float]]:
    """(chunks, microbatches) seconds, from one number, one a chunk, or one each; not negative, finite."""
    try:
        given = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be numbers. Got {kind_of(value)}.") from None
    whole = given[:, None] if given.ndim == 1 else given
    if whole.shape not in ((), (chunks, 1), (chunks, microbatches)):
        raise ValueError(
            f"{name} must be one number, or of shape ({chunks},), one a chunk, or ({chunks}, {microbatches}), one a"
            f" chunk and micro-batch. Got {given.shape}."
        )
    if not (np.isfinite(whole) & (whole >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative.")
    rows: list[list[float]] = np.broadcast_to(whole, (chunks, microbatches)).tolist()
    return rows


def actions(schedule: Any, kinds: tuple[str, ...]) -> tuple[int, int]:
    """(chunks, microbatches) of a schedule that has each action once, chunk c on device c % devices."""
    devices = len(schedule)
    seen = {}
    for device, row in enumerate(schedule):
        for action in row:
            if action.kind not in kinds or min(action.chunk, action.microbatch) < 0:
                raise ValueError(f"An action must be one of {kinds} of a chunk and a micro-batch. Got {action}.")
            if action.chunk % devices != device:
                raise ValueError(
                    f"Chunk {action.chunk} must be on device {action.chunk % devices} of {devices}. Got {action} on"
                    f" device {device}."
                )
            if action in seen:
                raise ValueError(f"schedule must have each action once. Got {action} twice.")
            seen[action] = device
    if not seen:
        raise ValueError("schedule must have at least one action.")
    chunks = 1 + max(action.chunk for action in seen)
    microbatches = 1 + max(action.microbatch for action in seen)
    used = [kind for kind in kinds if any(action.kind == kind for action in seen)]
    if len(seen) != len(used) * chunks * microbatches or kinds[0] not in used:
        raise ValueError(
            f"schedule must have each of {chunks} chunks x {microbatches} micro-batches, forward or forward and"
            f" backward. Got {len(seen)} actions."
        )
    return chunks, microbatches


def everything_done(schedule: Sequence[Sequence[Any]], positions: Sequence[int]) -> None:
    """No device waits for ever."""
    for device, (row, position) in enumerate(zip(schedule, positions)):
        if position < len(row):
            raise ValueError(
                f"schedule never ends: device {device} waits for the input of {row[position]}. Order the actions so"
                " that each comes after those it needs."
            )
