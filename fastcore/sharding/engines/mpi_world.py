"""The ranks of MPI as one group: waiting that leaves the cores to others, and an agreement that ends in an error
where ranks would wait for each other for ever.

Ranks run the same program, so the n-th step of one is the n-th step of all. At each step every rank adds a digest of
what it is about to do to a reduction that nobody waits for. Its result is looked at while waiting for messages, at
later steps, and before results leave the mesh; a rank that ends its program says so in one last step.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import threads
from fastcore._core import validate_sharding_mpi as check

# MPICH's own waits spin, and take the core from the rank that is waited for. Ours give it away between polls, and then
# sleep, so that a wait takes at most this share longer.
POLLS = 200
SLEEP_SHARE = 0.05
SHORTEST_SLEEP_S = 2e-5
LONGEST_SLEEP_S = 5e-4
# Steps whose agreement is not known yet; a rank that is further ahead waits.
MOST_PENDING = 1024
TEXT_BYTES = 400
TAGS = 32768  # what the standard promises
MEETING_TAG = TAGS - 1  # on MPI's own communicator, which the program may use, too
# How long a rank with an error waits for the others, so that all show theirs, before it ends them. 3 s were too short
# for four ranks beside other work on two cores.
LAST_WORD_S = 10.0
TIMEOUT = "FASTCORE_MPI_TIMEOUT_S"

_yield_core = getattr(os, "sched_yield", functools.partial(time.sleep, 0))


class _Step(NamedTuple):
    number: int
    describe: Callable[[], str]
    request: Any
    sent: np.ndarray
    greatest: np.ndarray


@functools.cache
def world() -> World:
    """The ranks this process was started with. The first call waits until all of them make it."""
    return World()


def load_mpi() -> Any:
    """The module of mpi4py, or an ImportError that says what to install."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, the MPI library is not
        check.no_mpi(error)
    return MPI


class World:
    """All ranks.

    Attributes
    ----------
    rank, num_ranks : int
    step : int, steps taken so far
    comm : communicator of these ranks alone
    greatest : the reduction
    """

    def __init__(self) -> None:
        self._mpi = load_mpi()
        self._pending: deque[_Step] = deque()
        self._failure: str | None = None
        self._abandoned: list[Any] = []
        self._describe: Callable[[], str] = str
        self._process = os.getpid()
        self.step = 0
        self.rank = self._mpi.COMM_WORLD.rank
        self.num_ranks = self._mpi.COMM_WORLD.size
        self.greatest = self._mpi.MAX
        self.comm = self._mpi.COMM_NULL
        self._meet()
        self.comm = self._mpi.COMM_WORLD.Dup()
        # The n-th collective call on a communicator meets the n-th of the others: a report of what went wrong, made in
        # the middle of a step, needs its own.
        self._reports = self.comm.Dup()
        self._share_cores()
        atexit.register(self._finish)

    def _meet(self) -> None:
        """Wait until all ranks are here, by messages: a collective call would not tell who is missing."""
        patience = check.patience_s(os.environ.get(TIMEOUT), check.MEETING_S)
        everyone, word = self._mpi.COMM_WORLD, np.zeros(1, np.uint8)
        others = [rank for rank in range(self.num_ranks) if rank != self.rank]
        heard = {rank: everyone.Irecv(np.zeros(1, np.uint8), rank, MEETING_TAG) for rank in others}
        said = [everyone.Isend(word, rank, MEETING_TAG) for rank in others]
        try:
            self.wait([*heard.values(), *said], "the first Mesh(engine='mpi')", patience)
        except TimeoutError:
            missing = [rank for rank, request in heard.items() if not request.Test()]
            check.did_not_come(self.rank, patience, missing, TIMEOUT)

    # --- agreement --------------------------------------------------------------------------------------------------

    def agree(self, digest: bytes, describe: Callable[[], str]) -> None:
        """Enter the next step. Raises where an earlier one is known to differ; does not wait.

        Parameters
        ----------
        digest : 8 bytes or more of a hash of what this rank does in it
        describe : answers a text that says it
        """
        self._refuse_if_failed()
        self.step += 1
        self._describe = describe
        if self.num_ranks == 1:
            return
        value = int.from_bytes(digest[:8], "little") >> 2
        sent = np.array([value, -value])
        greatest = np.empty_like(sent)
        request = self.comm.Iallreduce(sent, greatest, self.greatest)
        self._pending.append(_Step(self.step, describe, request, sent, greatest))
        self._look()
        if len(self._pending) > MOST_PENDING:
            oldest = self._pending[0]
            self.wait([oldest.request], f"step {oldest.number}, {oldest.describe()}")
            self._look()

    def settle(self, patience: float | None = None) -> None:
        """Wait until all steps so far are known to be the same on all ranks, or raise; see `wait`."""
        while self._pending:
            oldest = self._pending[0]
            self.wait([oldest.request], f"step {oldest.number}, {oldest.describe()}", patience)
            self._look()

    def _look(self) -> None:
        while self._pending and self._failure is None and self._pending[0].request.Test():
            step = self._pending.popleft()
            if step.greatest[0] != -step.greatest[1]:
                self._report(step)

    def _report(self, step: _Step) -> None:
        """Exchange what each rank did, and raise it on all."""
        self._failure = "An earlier step of this program failed."  # until more is known
        mine = np.frombuffer(step.describe().encode()[:TEXT_BYTES].ljust(TEXT_BYTES), np.uint8)
        texts = np.empty((self.num_ranks, TEXT_BYTES), np.uint8)
        self.wait([self._reports.Iallgather(mine, texts)], "the report of a step that differs")
        steps = [text.tobytes().decode(errors="replace").strip() for text in texts]
        self._failure = check.steps_differ(step.number, steps)
        check.same_program(self._failure)

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            check.same_program(self._failure)

    def _finish(self) -> None:
        """At exit: tell the others, who may wait for this rank, that it has come to its end, and how."""
        if self._mpi.Is_finalized() or os.getpid() != self._process or self.num_ranks == 1:
            return
        error = getattr(sys, "last_value", None)  # what the interpreter has shown as uncaught
        others_listen = True
        try:
            if self._failure is None:
                end = "the end of the program" if error is None else f"{type(error).__name__}: {error}"
                self.agree(blake2b(end.encode()).digest(), lambda: end)
                self.settle(None if error is None else LAST_WORD_S)
        except (ValueError, TimeoutError) as difference:
            print(f"rank {self.rank}: {difference}", file=sys.stderr, flush=True)
            others_listen = not isinstance(difference, TimeoutError)
        if error is not None or self._failure is not None:
            # Messages may be under way that nobody will take: MPI's own end would wait for them.
            if others_listen:
                with contextlib.suppress(TimeoutError):
                    self.wait([self._reports.Ibarrier()], "the end", LAST_WORD_S)
            self.comm.Abort(1)

    # --- messages ---------------------------------------------------------------------------------------------------

    def wait(self, requests: list[Any], what: str = "", patience: float | None = None) -> None:
        """Wait until the requests are done. Between polls the core is free.

        Parameters
        ----------
        what : what the other ranks have to come to, for the error; by default the last step
        patience : seconds, by default FASTCORE_MPI_TIMEOUT_S, or 600; 60 for the first mesh

        Raises
        ------
        ValueError : the ranks are found to run different programs
        TimeoutError : nothing came for so long
        """
        try:
            self._wait(requests, what, patience)
        except BaseException:
            self._abandoned.append(requests)  # MPI may still write to their buffers
            raise

    def _wait(self, requests: list[Any], what: str, patience: float | None) -> None:
        polls = 0
        while not self._are_done(requests):
            self._look()
            polls += 1
            if polls < POLLS:
                _yield_core()
                continue
            if polls == POLLS:
                start = time.monotonic()
                seconds = check.patience_s(os.environ.get(TIMEOUT)) if patience is None else patience
            waited = time.monotonic() - start
            if waited > seconds:
                what = what or f"step {self.step}, {self._describe()}"
                self._failure = self._failure or f"Rank {self.rank} waited in vain for the others to come to {what}."
                check.waited(seconds, what, TIMEOUT)
            time.sleep(min(max(waited * SLEEP_SHARE, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))

    def _are_done(self, requests: list[Any]) -> bool:
        try:
            return bool(self._mpi.Request.Testall(requests))
        except self._mpi.Exception:
            # A message of another size than expected: another step of the program.
            self.settle()
            raise

    # --- threads ----------------------------------------------------------------------------------------------------

    def _share_cores(self) -> None:
        """Threads a rank: the cores this host's ranks may use, divided by their number, unless the user chose some."""
        host = self.comm.Split_type(self._mpi.COMM_TYPE_SHARED)
        if host.size > 1:
            # GNU OpenMP's threads spin between launches: 4 ranks of 2 threads on 2 cores took 22 ms a superstep, and
            # 1.2 ms with this, which it reads when it is loaded.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        own = affinity()
        union = np.zeros_like(own)
        host.Allreduce(own, union, self.greatest)
        share = max(1, min(int(own.sum()), int(union.sum()) // host.size))
        if "NUMBA_NUM_THREADS" in os.environ or share >= threads.pool_size():
            return
        if threads.get_num_threads() == threads.pool_size():  # else the user has set it
            threads.set_num_threads(share)


def affinity() -> np.ndarray:
    """(4096,) uint8: 1 for each core this process may use."""
    cores: Iterable[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    mask = np.zeros(4096, np.uint8)
    mask[[core % 4096 for core in cores]] = 1
    return mask
