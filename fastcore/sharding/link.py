"""What connects the devices, and how fast they compute."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_sharding_mpi as check

__all__ = ["Link", "fit_link"]

# A message is sent back and forth until this time is used up, and so often at least.
SECONDS_A_SIZE = 0.05
LEAST_ROUNDS = 10
PRODUCT_SIZE = 384


class Link(NamedTuple):
    """The α-β model of a network, with the speed of a device.

    latency_s: α, seconds a message. bytes_per_s: 1/β, of one link in one direction. flops_per_s: of one device.
    """

    latency_s: float = 5e-6
    bytes_per_s: float = 10e9
    flops_per_s: float = 100e9


def fit_link(sizes: Sequence[int] = (8, 512, 4096, 32768, 262144, 2097152, 8388608)) -> Link:
    """Measure the network between the first rank of MPI and the last, and how fast a rank computes.

    All ranks call it, started by ``mpiexec -n 2 python -m mpi4py ...`` or more. Takes about a second.

    Parameters
    ----------
    sizes : bytes of the messages that go back and forth

    Returns
    -------
    Link, the same on all ranks. latency_s and bytes_per_s fit the times of messages of all sizes by least squares of
    relative errors, of the fastest of many rounds each; they are what this package's messages take, its waiting
    included. flops_per_s is that of the slowest rank: its product of float32 matrices, in one thread.

    Raises
    ------
    ImportError : no mpi4py or no MPI
    ValueError : fewer than 2 ranks; sizes are not at least two different positive integers
    """
    from fastcore.sharding.engines.mpi_world import world

    ranks = world()
    lengths = check.message_sizes(sizes)
    check.two_ranks(ranks.num_ranks)
    ranks.agree(blake2b(repr(lengths).encode()).digest(), lambda: f"fit_link of sizes {lengths}")
    ranks.settle()
    one_way = np.array([_one_way_s(ranks, length) for length in lengths])
    ranks.wait([ranks.comm.Ibcast(one_way, 0)], "the end of fit_link")
    slowest = np.array([-flops_per_s()])
    fastest = np.empty_like(slowest)
    ranks.wait([ranks.comm.Iallreduce(slowest, fastest, ranks.greatest)], "the end of fit_link")
    alpha, beta = fit_alpha_beta(np.array(lengths, float), one_way)
    return Link(alpha, 1 / beta, -float(fastest[0]))


def fit_alpha_beta(sizes: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """α and β of seconds = α + sizes β, both positive, by least squares of relative errors.

    Sizes and times span six orders of magnitude: absolute errors would let the largest message alone decide α. Where
    noise hides one of the two, it is what the smallest or the largest message took.
    """
    from scipy.optimize import nnls

    (alpha, beta), _ = nnls(np.stack([np.ones_like(sizes), sizes], 1) / seconds[:, None], np.ones_like(sizes))
    smallest, largest = np.argmin(sizes), np.argmax(sizes)
    return float(alpha or seconds[smallest]), float(beta or seconds[largest] / sizes[largest])


def _one_way_s(ranks: Any, length: int) -> float:
    """Half the time of the fastest round between the first rank and the last; others only wait at the end."""
    last = ranks.num_ranks - 1
    if ranks.rank not in (0, last):
        return 0.0
    other = last - ranks.rank
    given, taken, go_on = np.zeros(length, np.uint8), np.empty(length, np.uint8), np.ones(1, np.uint8)

    def send(data: np.ndarray) -> None:
        ranks.wait([ranks.comm.Isend(data, other)], "fit_link")

    def receive(data: np.ndarray) -> None:
        ranks.wait([ranks.comm.Irecv(data, other)], "fit_link")

    if ranks.rank == last:
        receive(go_on)
        while go_on[0]:
            receive(taken)
            send(taken)
            receive(go_on)
        return 0.0

    def round_trip() -> None:
        send(given)
        receive(taken)

    best = _best_s(round_trip, lambda: send(go_on))
    send(np.zeros(1, np.uint8))
    return best / 2


def _best_s(function: Callable[[], object], before: Callable[[], object]) -> float:
    """Seconds of the fastest of many calls, each after an untimed one of `before`."""
    best, start, rounds = np.inf, time.perf_counter(), 0
    while rounds < LEAST_ROUNDS or time.perf_counter() - start < SECONDS_A_SIZE:
        before()
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
        rounds += 1
    return best


def flops_per_s() -> float:
    """Operations a second of a product of float32 matrices, in one thread."""
    from fastcore.sharding.kernels.matmul import product

    n = PRODUCT_SIZE
    x, w, out = np.ones((n, n), np.float32), np.ones((n, n), np.float32), np.empty((n, n), np.float32)
    product(x, w, out)  # compiles it
    return 2 * n**3 / _best_s(lambda: product(x, w, out), lambda: None)
