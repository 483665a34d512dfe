"""Devices on the ranks of MPI."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_sharding_mpi as check
from fastcore.sharding.engines.mpi_world import TAGS, world

# Counts of MPI 3 are 32 bits.
LARGEST_MESSAGE_BYTES = 1 << 30
NOWHERE = np.zeros(0, np.int64)

Rows = slice | np.ndarray


class Plan(NamedTuple):
    """Which rows of its input this rank sends to whom, and where what it gets belongs in its output.

    sends, receives : (rank, rows), the rows in an order that both ranks know. kept : rows of input and of output, of
    what stays on this rank. spread : (n_local, n) row of the output for each place of the result, or None: all of them
    in order. received : number of rows of the output.
    """

    sends: list[tuple[int, Rows]]
    receives: list[tuple[int, Rows]]
    kept: tuple[Rows, Rows]
    received: int
    spread: np.ndarray | None = None


class MpiEngine:
    """Devices in order, the same number on each rank: device d on rank d // (devices / ranks).

    A message for each pair of ranks holds all that goes from one to the other. Every rank takes part in every step, if
    only to agree on it, also where no device of its own does.
    """

    name = "mpi"
    is_dry = False

    def __init__(self, axes: Mapping[str, int]) -> None:
        self._world = world()
        num_devices = math.prod(axes.values())
        self._agree(("mesh", tuple(axes.items())), f"Mesh({dict(axes)})")
        self._world.settle()
        check.ranks_divide(axes, num_devices, self._world.num_ranks)
        self._share = num_devices // self._world.num_ranks
        self._plans: dict[tuple[Any, ...], Plan] = {}

    def is_local(self, devices: np.ndarray) -> np.ndarray:
        """Which devices are this process's."""
        return devices // self._share == self._world.rank

    def holds_whole(self, mesh: Any, groups: np.ndarray) -> bool:
        """Whether each group lies in one process, this or another: the same answer in all."""
        owners = self._owners(mesh)[groups]
        return bool((owners == owners[:, :1]).all())

    # --- what moves -------------------------------------------------------------------------------------------------

    def all_to_all(self, mesh: Any, groups: np.ndarray, pieces: np.ndarray, purpose: str) -> np.ndarray:
        """pieces (n_local, n, …): [d, j] to member j of d's group. Returns the same shape, [d, i] from member i.

        purpose : what the pieces are for, on which ranks must agree, too
        """
        key = self._enter(
            "all_to_all", mesh, pieces.shape[1:], pieces.dtype, groups, purpose, lambda: f" for {purpose}"
        )
        if key not in self._plans:
            self._plans[key] = self._plan_all_to_all(mesh, groups)
        rows = pieces.reshape(pieces.shape[0] * pieces.shape[1], *pieces.shape[2:])
        return self._exchange(self._plans[key], rows).reshape(pieces.shape)

    def all_gather(self, mesh: Any, groups: np.ndarray, pieces: np.ndarray, purpose: str) -> np.ndarray:
        """pieces (n_local, …), each to all of its group. Returns (n_local, n, …): [d, i] from member i."""
        key = self._enter(
            "all_gather", mesh, pieces.shape[1:], pieces.dtype, groups, purpose, lambda: f" for {purpose}"
        )
        if key not in self._plans:
            self._plans[key] = self._plan_all_gather(mesh, groups)
        plan = self._plans[key]
        return self._exchange(plan, pieces)[plan.spread]

    def send(self, mesh: Any, target: Any, pieces: np.ndarray, source: np.ndarray) -> np.ndarray:
        """pieces (mesh.n_local, …). Returns (target.n_local, …): device d of `target` gets the piece of position
        source[d] of `mesh`, zeros where that is −1; source is (target.size,)."""
        ends = (target.fixed, tuple(target.axes.items()))
        key = self._enter(
            "send", mesh, pieces.shape[1:], pieces.dtype, source, ends, lambda: f" to {target!r}, from {source[:16]}"
        )
        if key not in self._plans:
            self._plans[key] = self._plan_send(mesh, target, source)
        return self._exchange(self._plans[key], pieces)

    def all_blocks(self, mesh: Any, array: Any) -> np.ndarray:
        """(size, *block_shape): the blocks of all devices."""
        key = self._enter(
            "gather", mesh, array.block_shape, array.dtype, NOWHERE, (array.shape, array.spec), lambda: f", {array!r}"
        )
        if key not in self._plans:
            self._plans[key] = self._plan_all_blocks(mesh)
        blocks = self._exchange(self._plans[key], array.local)
        self._world.settle()  # numbers leave the mesh
        return blocks

    # --- agreement --------------------------------------------------------------------------------------------------

    def _enter(
        self,
        kind: str,
        mesh: Any,
        shape: tuple[int, ...],
        dtype: Any,
        ends: np.ndarray,
        other: Any = (),
        more: Callable[[], str] = str,
    ) -> tuple[Any, ...]:
        """Agree on the step; returns what its plan depends on."""
        where = ends.shape, blake2b(ends.tobytes()).digest()
        key = (kind, mesh.fixed, tuple(mesh.axes.items()), where, other)
        self._agree((key, shape, np.dtype(dtype).str), lambda: f"{kind} of {dtype} {shape} on {mesh!r}{more()}")
        return key

    def _agree(self, what: tuple[Any, ...], text: Any) -> None:
        digest = blake2b(repr(what).encode(), digest_size=8).digest()
        self._world.agree(digest, text if callable(text) else lambda: text)

    # --- plans ------------------------------------------------------------------------------------------------------

    def _owners(self, mesh: Any) -> np.ndarray:
        """(size,) rank of each position."""
        owners: np.ndarray = mesh.devices // self._share
        return owners

    def _plan_all_to_all(self, mesh: Any, groups: np.ndarray) -> Plan:
        partners = _partners(mesh, groups).ravel()
        here = np.repeat(mesh.positions, groups.shape[1])
        ranks, rows = self._owners(mesh)[partners], np.arange(len(partners))
        sent, taken = np.lexsort((partners, here, ranks)), np.lexsort((here, partners, ranks))
        return self._made(rows[sent], ranks[sent], rows[taken], ranks[taken], len(rows))

    def _plan_all_gather(self, mesh: Any, groups: np.ndarray) -> Plan:
        partners, owners = _partners(mesh, groups), self._owners(mesh)
        pairs = {(int(rank), row) for row, each in enumerate(partners) for rank in owners[each]}
        sent = np.array(sorted(pairs), np.int64).reshape(-1, 2)
        sources = np.unique(partners)
        plan = self._made(sent[:, 1], sent[:, 0], np.arange(len(sources)), owners[sources], len(sources))
        return plan._replace(spread=np.searchsorted(sources, partners))

    def _plan_send(self, mesh: Any, target: Any, source: np.ndarray) -> Plan:
        ends = np.flatnonzero(source >= 0)
        starts = source[ends]
        from_rank, to_rank = self._owners(mesh)[starts], self._owners(target)[ends]
        sent, taken = from_rank == self._world.rank, to_rank == self._world.rank
        rows = np.searchsorted(mesh.positions, starts[sent])
        places = np.searchsorted(target.positions, ends[taken])
        return self._made(rows, to_rank[sent], places, from_rank[taken], target.n_local)

    def _plan_all_blocks(self, mesh: Any) -> Plan:
        ranks = self._world.num_ranks
        rows = np.tile(np.arange(mesh.n_local), ranks)
        positions = np.arange(mesh.size)
        return self._made(rows, np.repeat(np.arange(ranks), mesh.n_local), positions, self._owners(mesh), mesh.size)

    def _made(
        self, sent: np.ndarray, to_rank: np.ndarray, taken: np.ndarray, from_rank: np.ndarray, received: int
    ) -> Plan:
        """The plan of these rows and their ranks: those of one rank in the order given."""
        sends, receives = _by_rank(sent, to_rank), _by_rank(taken, from_rank)
        none = slice(0, 0)
        kept = sends.pop(self._world.rank, none), receives.pop(self._world.rank, none)
        return Plan(list(sends.items()), list(receives.items()), kept, received)

    # --- messages ---------------------------------------------------------------------------------------------------

    def _exchange(self, plan: Plan, rows: np.ndarray) -> np.ndarray:
        out = np.zeros((plan.received, *rows.shape[1:]), rows.dtype)
        elements = math.prod(rows.shape[1:])
        if elements == 0:
            return out
        given = np.ascontiguousarray(rows).reshape(rows.shape[0], elements).view(np.uint8)
        taken = out.reshape(plan.received, elements).view(np.uint8)
        requests: list[Any] = []
        landed = []
        for rank, places in plan.receives:
            buffer = taken[places] if isinstance(places, slice) else np.empty((len(places), taken.shape[1]), np.uint8)
            landed.append(buffer)
            requests += self._post(self._world.comm.Irecv, buffer, rank)
        for rank, which in plan.sends:
            requests += self._post(self._world.comm.Isend, given[which], rank)
        taken[plan.kept[1]] = given[plan.kept[0]]
        self._world.wait(requests)
        for (_, places), buffer in zip(plan.receives, landed):
            if not isinstance(places, slice):
                taken[places] = buffer
        return out

    def _post(self, call: Any, buffer: np.ndarray, rank: int) -> list[Any]:
        """Messages of the whole buffer, each of at most `LARGEST_MESSAGE_BYTES`."""
        data = buffer.reshape(-1)
        tag = self._world.step % TAGS
        return [
            call(data[start : start + LARGEST_MESSAGE_BYTES], rank, tag)
            for start in range(0, data.size, LARGEST_MESSAGE_BYTES)
        ]


def _partners(mesh: Any, groups: np.ndarray) -> np.ndarray:
    """(n_local, n): the group of each device of this process."""
    group = np.empty(mesh.size, np.int64)
    group[groups] = np.arange(groups.shape[0])[:, None]
    return groups[group[mesh.positions]]


def _by_rank(rows: np.ndarray, ranks: np.ndarray) -> dict[int, Rows]:
    """Rows of each rank, as a slice where they follow each other: then nothing is packed."""
    found: dict[int, Rows] = {}
    for rank in np.unique(ranks):
        those = rows[ranks == rank]
        follow = len(those) > 0 and bool((np.diff(those) == 1).all())
        found[int(rank)] = slice(int(those[0]), int(those[-1]) + 1) if follow else those
    return found
