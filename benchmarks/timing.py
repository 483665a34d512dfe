"""How sides are timed against each other.

The protocol, in one process, all sides with the same number of threads:

1. Every side has been called before, for its verification (compilation, page faults, autotuning); the fastest of a few
   calls decides how many make up one measurement of that side, so that a measurement takes at least `MEASUREMENT_S`.
2. A round measures every side once, in an order that moves on by one from round to round. Sides that are slow and far
   behind take part in every second round only: what they need then goes into more rounds of the close ones. Where one
   call of all these takes seconds they take part in fewer, at least one (`rounds_between`).
3. Before a side is measured the process has to be idle: OpenMP, ONNX Runtime and others keep their workers spinning for
   a while after a call, on the cores the next side needs. We sleep until the process' CPU clock stands still. Spinning
   itself stays on, since it makes small calls of those libraries faster: each runs as it comes.
4. Then the side is called untimed, to wake its own workers up and to fill the caches as in a loop of its own calls, and
   timed at once.

Reported are medians over the rounds, the ratio of medians, and the quartiles of the ratios within each round (of those
that measured both): what disturbs one round disturbs both parts of that round's ratio.
"""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.registry import Side

MEASUREMENT_S = 0.01  # far above the resolution of the clock, timer interrupts and the wake-up of threads
# After an idle pause the processor is slow for some milliseconds: the second 3 ms call after one took 3.2 ms, a call in
# a loop 2.8 ms. Every side gets the same time to warm up.
WARM_UP_S = 0.02
LONG_CALL_S = (
    0.15  # waking threads (at most 8 ms, GNU omp) is then below the noise, and the warm-up would double the time
)
SLOW_S, FAR_BEHIND = 0.1, 2.5  # a slow side: a call takes as long, and as many times the fastest side's
SLOW_BUDGETS = 2.0  # the budget of a case as many times is what its slow sides get at most
KNOWN_S = 2.0  # a call that took as long is not repeated to know how long it takes
IDLE_CHECK_S = 0.005
IDLE_LIMIT_S = 0.3


@dataclass
class Timed:
    """Measurements of one side: number of the round -> seconds for one call."""

    rounds: dict[int, float]
    calls: int

    @property
    def seconds(self) -> float:
        return median(self.rounds.values())

    def quartiles(self) -> tuple[float, float]:
        return quantile(self.rounds.values(), 0.25), quantile(self.rounds.values(), 0.75)


def quantile(values: Iterable[float], fraction: float) -> float:
    """Linear interpolation between order statistics."""
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def ratio(other: Timed, ours: Timed) -> tuple[float, float, float]:
    """How many times faster `ours` is: ratio of medians, quartiles of the ratios of each round.

    Of a side that was measured once the quartiles are over our rounds.
    """
    if len(other.rounds) == 1:
        low, high = ours.quartiles()
        return other.seconds / ours.seconds, other.seconds / high, other.seconds / low
    ratios = [other.rounds[number] / ours.rounds[number] for number in other.rounds.keys() & ours.rounds.keys()]
    return other.seconds / ours.seconds, quantile(ratios, 0.25), quantile(ratios, 0.75)


def wait_until_idle() -> None:
    """Sleep until no thread of this process runs, at most IDLE_LIMIT_S."""
    deadline = time.perf_counter() + IDLE_LIMIT_S
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(IDLE_CHECK_S)
        if time.process_time() - before < 0.1 * IDLE_CHECK_S:
            return


def timed_calls(call: Callable[[], object], count: int) -> float:
    """Seconds for one of `count` calls in a row."""
    repeats = range(count)
    start = time.perf_counter()
    for _ in repeats:
        call()
    return (time.perf_counter() - start) / count


def calibrate(side: Side) -> tuple[float, int]:
    """Fastest of a few calls, and the number of calls in one measurement."""
    if side.seconds > KNOWN_S:
        return side.seconds, 1
    fastest = timed_calls(side.call, 1)
    for _ in range(2):
        if fastest < 10 * MEASUREMENT_S:  # beyond, a measurement is one call in any case
            fastest = min(fastest, timed_calls(side.call, 1))
    return fastest, max(1, min(20_000, round(MEASUREMENT_S / fastest)))


def measure(side: Side, seconds: float, calls: int) -> float:
    """Steps 3 and 4 of the protocol: seconds for one call."""
    wait_until_idle()
    if seconds < LONG_CALL_S:
        timed_calls(side.call, max(1, min(calls, round(WARM_UP_S / seconds))))
    return timed_calls(side.call, calls)


def rounds_between(slow_s: float, budget_s: float, min_rounds: int) -> int:
    """How many rounds on the slow sides, of which one call each takes `slow_s` together, are measured again."""
    measurements = max(1, int(SLOW_BUDGETS * budget_s / slow_s)) if slow_s else min_rounds
    return max(2, -(-min_rounds // measurements))


def compare(
    sides: Mapping[str, Side],
    budget_s: float,
    min_rounds: int = 5,
    max_rounds: int = 40,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Timed]:
    """Time all sides in turn; each has been called before.

    Parameters
    ----------
    sides : name -> side, prepared and verified
    budget_s : time for the rounds together; as many as fit, within min_rounds and max_rounds
    on_round : called with (rounds done, rounds planned)
    """
    plans = {name: calibrate(side) for name, side in sides.items()}
    timed = {name: Timed({}, calls) for name, (_, calls) in plans.items()}
    threshold = max(SLOW_S, FAR_BEHIND * min(seconds for seconds, _ in plans.values()))
    slow_s = sum(seconds for seconds, _ in plans.values() if seconds >= threshold)
    between = rounds_between(slow_s, budget_s, min_rounds)
    order = list(sides)
    collecting = gc.isenabled()
    gc.disable()
    try:
        planned, done, start = max_rounds, 0, time.perf_counter()
        while done < planned:
            for name in order:
                if done % between == 0 or plans[name][0] < threshold:
                    timed[name].rounds[done] = measure(sides[name], *plans[name])
            order.append(order.pop(0))
            done += 1
            a_round = (time.perf_counter() - start) / done
            planned = max(min_rounds, min(max_rounds, int(budget_s / a_round)))
            if on_round is not None:
                on_round(min(done, planned), planned)
    finally:
        if collecting:
            gc.enable()
    return timed
