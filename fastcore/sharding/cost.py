"""What collectives cost in the α–β model: messages, bytes and seconds, by the algorithm that each stands for.

A message of s bytes takes α + s·β: α is `Link.latency_s`, β is 1 / `Link.bytes_per_s`. Devices send and receive at
once, one message at a time. n devices form a group and enter with S bytes each:

| Collective | Algorithm | Messages a device | Sent by the group | Seconds |
|---|---|---|---|---|
| all_gather | ring | n − 1, of S | n·(n − 1)·S | (n − 1)(α + Sβ) |
| psum_scatter | ring, or pairwise exchange | n − 1, of S/n | (n − 1)·S | (n − 1)(α + Sβ/n) |
| psum, pmean, pmax, pmin | ring: psum_scatter, then all_gather | 2(n − 1), of S/n | 2(n − 1)·S | 2(n − 1)(α + Sβ/n) |
| all_to_all | pairwise exchange | n − 1, of S/n | (n − 1)·S | (n − 1)(α + Sβ/n) |
| ppermute, transfer | one message | 1, of S | S a message | α + Sβ |

Sources: Thakur, Rabenseifner, Gropp 2005, "Optimization of Collective Communication Operations in MPICH", sections 4.1
(ring all-gather), 4.3 (pairwise reduce-scatter), 4.4; Patarasuk, Yuan 2009, "Bandwidth optimal all-reduce algorithms",
section 3 (ring all-reduce).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fastcore._core import validate_sharding_cost as check
from fastcore.sharding.ledger import Entry
from fastcore.sharding.link import Link

__all__ = ["Seconds", "collective_bytes", "collective_messages", "collective_seconds", "entry_seconds", "span_seconds"]


class _Algorithm(NamedTuple):
    """rounds: n − 1 times so many, or one of pairs if 0. whole: whether a message has S bytes, not S/n."""

    rounds: int
    whole: bool


ALGORITHMS = {
    "all_gather": _Algorithm(1, True),
    "psum_scatter": _Algorithm(1, False),
    "psum": _Algorithm(2, False),
    "pmean": _Algorithm(2, False),
    "pmax": _Algorithm(2, False),
    "pmin": _Algorithm(2, False),
    "all_to_all": _Algorithm(1, False),
    "ppermute": _Algorithm(0, True),
    "transfer": _Algorithm(0, True),
}


def collective_messages(kind: str, devices: int) -> int:
    """Messages that a device sends: see the table of this module.

    Parameters
    ----------
    kind : name of the collective
    devices : n, devices of a group; of ppermute and transfer a device that sends counts as one of 2

    Raises
    ------
    ValueError : unknown kind, no devices
    """
    algorithm, n = check.collective(kind, ALGORITHMS), check.count(devices, "devices")
    if n == 1:
        return 0
    return algorithm.rounds * (n - 1) if algorithm.rounds else 1


def collective_bytes(kind: str, devices: int, entering_bytes: int) -> int:
    """Bytes that all devices of a group send together, exactly; of ppermute and transfer, by one device.

    Parameters
    ----------
    kind, devices : see `collective_messages`
    entering_bytes : S, bytes that each device enters with. It need not divide by n: some messages are then shorter.
    """
    algorithm, n = check.collective(kind, ALGORITHMS), check.count(devices, "devices")
    size = check.count(entering_bytes, "entering_bytes", at_least=0)
    if n == 1:
        return 0
    if not algorithm.rounds:
        return size
    return algorithm.rounds * (n - 1) * size * (n if algorithm.whole else 1)


def collective_seconds(kind: str, devices: int, entering_bytes: int, link: Link) -> float:
    """Modelled seconds, with S/n taken as it is where it does not divide.

    Parameters
    ----------
    kind, devices, entering_bytes : see `collective_bytes`
    link : Link
    """
    messages, link = collective_messages(kind, devices), check.link(link, Link)
    size = check.count(entering_bytes, "entering_bytes", at_least=0)
    message_bytes = size if ALGORITHMS[kind].whole else size / devices
    return messages * (link.latency_s + message_bytes / link.bytes_per_s)


class Seconds(NamedTuple):
    """Modelled seconds of a device: computing, in collectives, and in messages to another mesh."""

    compute: float
    communication: float
    transfer: float

    @property
    def lower(self) -> float:
        """Computing and communicating at once."""
        return max(self.compute, self.communication)

    @property
    def upper(self) -> float:
        """First one, then the other."""
        return self.compute + self.communication


def entry_seconds(entry: Entry) -> float:
    """Modelled seconds of one entry of a ledger; 0 of a kernel that does not say its operations."""
    link = entry.mesh.link
    if entry.kind == "compute":
        return (entry.flops or 0.0) / link.flops_per_s
    if entry.entering_bytes > 0 == entry.sent_bytes:  # a permutation that leaves all where it is, a group of one
        return 0.0
    return collective_seconds(entry.kind, entry.devices, entry.entering_bytes, link)


def span_seconds(entries: Iterable[Entry]) -> Seconds:
    """Modelled seconds of entries that follow each other on the same devices, such as those of a span."""
    compute = communication = transfer = 0.0
    for entry in entries:
        seconds = entry_seconds(entry)
        if entry.kind == "compute":
            compute += seconds
        elif entry.kind == "transfer":
            transfer += seconds
        else:
            communication += seconds
    return Seconds(compute, communication, transfer)
