"""Costs of collectives by listing every message of the algorithm, round by round."""

from fractions import Fraction
from typing import Any

Message = tuple[int, int, Any]  # source, destination, bytes

PHASES = {
    "all_gather": ("gather whole",),
    "psum_scatter": ("exchange",),
    "all_to_all": ("exchange",),
    "psum": ("exchange", "gather parts"),
    "pmean": ("exchange", "gather parts"),
    "pmax": ("exchange", "gather parts"),
    "pmin": ("exchange", "gather parts"),
    "ppermute": ("message",),
    "transfer": ("message",),
}


def collective_rounds(kind: str, devices: int, entering_bytes: int, *, even: bool = False) -> list[list[Message]]:
    """Messages of one group, at the same time within a round.

    Blocks are cut into n parts; where that leaves a rest the first ones have a byte more, or with `even` all are S/n.
    """
    n = devices
    if n == 1:
        return []
    parts: list[Any] = [Fraction(entering_bytes, n)] * n
    if not even:
        parts = [entering_bytes // n + (i < entering_bytes % n) for i in range(n)]
    rounds = []
    for phase in PHASES[kind]:
        if phase == "message":
            rounds.append([(0, 1, entering_bytes)])
            continue
        for step in range(1, n):
            if phase == "exchange":  # part j goes to device j
                rounds.append([(i, (i + step) % n, parts[(i + step) % n]) for i in range(n)])
            else:  # in a ring: on goes what came in the round before
                sizes = [entering_bytes] * n if phase == "gather whole" else parts
                rounds.append([(i, (i + 1) % n, sizes[(i - step + 1) % n]) for i in range(n)])
    return rounds


def collective_messages(kind: str, devices: int) -> int:
    """Messages that device 0 sends."""
    return sum(source == 0 for each in collective_rounds(kind, devices, 0) for source, _, _ in each)


def collective_bytes(kind: str, devices: int, entering_bytes: int) -> int:
    """Bytes of all messages of a group; of ppermute and transfer, of one message."""
    return sum(size for each in collective_rounds(kind, devices, entering_bytes) for _, _, size in each)


def collective_seconds(kind: str, devices: int, entering_bytes: int, link: Any) -> float:
    """Rounds one after the other, each as long as its longest message."""
    rounds = collective_rounds(kind, devices, entering_bytes, even=True)
    return sum(max(link.latency_s + float(size) / link.bytes_per_s for _, _, size in each) for each in rounds)
