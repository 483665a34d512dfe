"""Checks of pipeline schedules, stages and micro-batches, and the messages they raise."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core.validate import kind_of, shown

SCHEDULES = ("gpipe", "1f1b", "interleaved")


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
    if not isinstance(schedule, Sequence) or not all(isinstance(row, list | tuple) for row in schedule):
        raise TypeError(
            f"actions must be a list of actions for each device, as pipeline_schedule gives it. Got {shown(schedule)}."
        )
    devices = len(schedule)
    seen = {}
    for device, row in enumerate(schedule):
        for action in row:
            if not hasattr(action, "microbatch"):
                raise TypeError(f"Each of actions must be an Action(kind, chunk, microbatch). Got {kind_of(action)}.")
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


# --- stages and what they hand on -----------------------------------------------------------------------------------


def _partition(x: Any) -> tuple[tuple[str, ...], ...]:
    """Mesh axes that split each axis of an array: P() and P(None) are the same."""
    return tuple(x.spec.names(dimension) for dimension in range(x.ndim))


def signature(x: Any) -> Any:
    """What the shapes of everything made of an array of a mesh depend on; None of other things."""
    return (x.shape, _partition(x), x.dtype) if hasattr(x, "block_shape") else None


def same_devices(mesh: Any, other: Any) -> bool:
    """Whether two meshes are the same part of one mesh, with the same axes."""
    return mesh is other or (
        mesh.ledger is other.ledger and mesh.axes == other.axes and np.array_equal(mesh.devices, other.devices)
    )


def stage_meshes(stages: Any, backward: bool) -> tuple[list[Any], int]:
    """The mesh of each stage, and the number p of different ones: stage k is where stage k % p is."""
    if not isinstance(stages, Sequence) or not stages:
        raise TypeError(f"stages must be a sequence of at least one layer. Got {kind_of(stages)}.")
    needed = ("params", "forward", *(("backward",) if backward else ()))
    for k, stage in enumerate(stages):
        missing = [name for name in needed if not hasattr(stage, name)]
        if missing:
            raise TypeError(f"stages[{k}] must be a layer, which has {', '.join(needed)}. Got {kind_of(stage)}.")
    meshes = [_stage_mesh(stage, k) for k, stage in enumerate(stages)]
    for k, mesh in enumerate(meshes):
        if mesh.ledger is not meshes[0].ledger:
            raise ValueError(f"Stages must be on parts of one mesh, mesh.at(...). stages[{k}] is on {mesh!r}.")
    devices = 1
    while devices < len(meshes) and not any(same_devices(meshes[devices], mesh) for mesh in meshes[:devices]):
        devices += 1
    for k, mesh in enumerate(meshes):
        if not same_devices(mesh, meshes[k % devices]) or len(meshes) % devices:
            raise ValueError(
                f"Stage k must be on the same part of the mesh as stage k % {devices}, for a multiple of {devices}"
                f" stages. Got {len(meshes)} stages; stages[{k}] is on {mesh!r}."
            )
        if dict(mesh.axes) != dict(meshes[0].axes):
            raise ValueError(
                f"Stages must be on meshes of the same axes. Got {meshes[0]!r} for stages[0], {mesh!r} for stages[{k}]."
            )
    return meshes, devices


def _stage_mesh(stage: Any, k: int) -> Any:
    meshes = [each.mesh for each in stage.params.values()]
    if not meshes:
        if getattr(stage, "mesh", None) is None:
            raise ValueError(f"stages[{k}] has no params that say where it is. Give it an attribute mesh.")
        return stage.mesh
    for mesh in meshes:
        if not same_devices(mesh, meshes[0]):
            raise ValueError(f"All params of a stage must be on one mesh. stages[{k}] has {meshes[0]!r} and {mesh!r}.")
    return meshes[0]


def microbatches(given: Any, mesh: Any) -> None:
    if not isinstance(given, Sequence):
        raise TypeError(f"microbatches must be a sequence of arrays on {mesh!r}. Got {kind_of(given)}.")
    if not given:
        raise ValueError("microbatches must have at least one array.")
    for i, x in enumerate(given):
        if signature(x) is None:
            raise TypeError(f"microbatches[{i}] must be an array of a mesh, mesh.put(...). Got {kind_of(x)}.")
        if not same_devices(x.mesh, mesh):
            raise ValueError(f"microbatches must be on the mesh of the first stage, {mesh!r}. Got {x.mesh!r}.")


def targets(given: Any, has_loss: bool, m: int) -> None:
    if given is None:
        return
    if not has_loss:
        raise ValueError("targets are for a loss. Pass loss=, or no targets.")
    if not isinstance(given, Sequence):
        raise TypeError(f"targets must be a sequence, one for each micro-batch. Got {kind_of(given)}.")
    if len(given) != m:
        raise ValueError(f"targets must be one for each of {m} micro-batches. Got {len(given)}.")


def _on_mesh(x: Any, name: str, mesh: Any) -> None:
    if signature(x) is None:
        raise TypeError(f"{name} must be an array of a mesh. Got {kind_of(x)}.")
    if not same_devices(x.mesh, mesh):
        raise ValueError(f"{name} must be on {mesh!r}. Got {x.mesh!r}.")


def output_of_stage(y: Any, k: int, mesh: Any) -> None:
    _on_mesh(y, f"The output of stage {k}", mesh)


def _same_blocks(x: Any, name: str, like: Any) -> None:
    if signature(x)[:2] != like[:2]:
        raise ValueError(f"{name} must be of shape {like[0]}, split over {like[1]}. Got {x!r}.")


def gradients_of_stage(grad_x: Any, grads: Any, k: int, given: Any, params: Any) -> None:
    """A gradient of the shape of the input, but for the first stage, and of each parameter."""
    if k > 0:
        if signature(grad_x) is None:
            raise TypeError(
                f"The gradient of the input of stage {k} must be an array of a mesh. Got {kind_of(grad_x)}."
            )
        _same_blocks(grad_x, f"The gradient of the input of stage {k}", given)
    if set(grads) != set(params):
        raise ValueError(f"backward of stage {k} must return gradients of {sorted(params)}. Got {sorted(grads)}.")
    for name, param in params.items():
        _same_blocks(grads[name], f"The gradient of {name} of stage {k}", signature(param))


def loss_function(loss: Any) -> None:
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be a function: loss(y, target) -> (value, grad_y). Got {kind_of(loss)}.")


def loss_and_gradient(results: Any, y: Any) -> tuple[Any, Any]:
    """(value, grad_y) as a loss must answer."""
    if not isinstance(results, tuple) or len(results) != 2:
        raise TypeError(f"loss(y, target) must answer (value, grad_y). Got {kind_of(results)}.")
    value, grad_y = results
    for name, x in (("value", value), ("grad_y", grad_y)):
        _on_mesh(x, f"{name} of loss(y, target) -> (value, grad_y)", y.mesh)
    if tuple(value.block_shape) != ():
        raise ValueError(f"The value of the loss must have blocks of shape (). Got {value!r}.")
    _same_blocks(grad_y, "The gradient of the loss", signature(y))
    return value, grad_y
