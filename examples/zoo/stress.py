"""Many threads give animals away at random, and some transfers fail half-way: is anybody lost, or there twice?"""

import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from examples.zoo.animal import Animal
from examples.zoo.errors import Hungry, NotHealthy, ZooError
from examples.zoo.records import Journal
from examples.zoo.transfer import Step, transfer
from examples.zoo.zoo import Zoo, census

# Seconds without any transfer by any thread after which the threads are taken to wait for each other.
PATIENCE = 60.0
# Threads take turns five times as often as usual: mistakes show that would hardly ever.
SWITCH_S = 1e-3


class InjectedFailure(Exception):
    """Raised on purpose."""


class Stuck(Exception):
    """The threads wait for each other."""


class Settings(NamedTuple):
    """failures : share of transfers that are made to fail at a step chosen at random; mishaps : share of animals that
    get hungry or sick before they are prepared"""

    zoos: int = 8
    capacity: int = 30
    animals: int = 200
    threads: int = 32
    transfers: int = 100_000
    failures: float = 0.1
    mishaps: float = 0.1
    seed: int = 0


# Fewer, and more places: copies take them up, until every transfer is refused.
CARELESS = Settings(transfers=3000, capacity=100)


class Outcome(NamedTuple):
    """What came of it.

    populations : animals of each zoo while it ran, (audits, zoos)
    wrong_audits : how many of these did not have every animal once
    injected, refused : failures by step, refusals by error
    lost, doubled : numbers of animals in the end
    journeys : sum over the animals, which is `completed` if none was counted for half a transfer
    """

    completed: int
    seconds: float
    populations: list[list[int]]
    wrong_audits: int
    injected: Counter[str]
    refused: Counter[str]
    lost: list[int]
    doubled: list[int]
    journeys: int

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.doubled or self.wrong_audits) and self.journeys == self.completed


Give = Callable[[int, Zoo, Zoo, Callable[[Step], None]], Animal]


def careless_transfer(number: int, source: Zoo, target: Zoo, on_step: Callable[[Step], None]) -> Animal:
    """As it is often written: into the new table, then out of the old one; no lock, nothing undone. For comparison."""
    journal = Journal()
    on_step(Step.ASKED)
    row = source.row_of(number)
    animal = source.records.read(row)
    place = target.free_row()
    on_step(Step.CHECKED)
    arrived = animal._replace(prepared=False, journeys=animal.journeys + 1)
    target.records.put(place, arrived, journal)
    on_step(Step.ARRIVED)
    source.records.erase(row, journal)
    on_step(Step.LEFT)
    on_step(Step.DONE)
    return arrived


def failing_at(step: Step | None) -> Callable[[Step], None]:
    def on_step(reached: Step) -> None:
        if reached == step:
            raise InjectedFailure(step)

    return on_step


def look_after(zoo: Zoo, number: int) -> None:
    """Feed and treat an animal until it can be prepared."""
    while True:
        try:
            zoo.prepare(number)
            return
        except Hungry:
            zoo.feed(number)
        except NotHealthy:
            zoo.treat(number)


class Run:
    """What the threads share."""

    def __init__(self, settings: Settings, give: Give) -> None:
        self.settings = settings
        self.give = give
        self.zoos = [Zoo(f"zoo {index}", settings.capacity) for index in range(1, settings.zoos + 1)]
        self.where: dict[int, Zoo] = {}  # who had it last; may be out of date
        for index in range(settings.animals):
            zoo = self.zoos[index % len(self.zoos)]
            self.where[zoo.accommodate(f"animal {index}", "lynx").number] = zoo
        self.completed = [0] * settings.threads
        self.injected = [Counter[str]() for _ in range(settings.threads)]
        self.refused = [Counter[str]() for _ in range(settings.threads)]
        self.failure: BaseException | None = None
        self.stop = False

    def work(self, index: int) -> None:
        """The share of one thread."""
        quota = len(range(index, self.settings.transfers, self.settings.threads))
        chance = random.Random(f"{self.settings.seed} {index}")
        numbers = list(self.where)
        try:
            while self.completed[index] < quota and not self.stop:
                self.attempt(chance.choice(numbers), chance, index)
        except BaseException as failure:
            self.failure, self.stop = failure, True

    def attempt(self, number: int, chance: random.Random, index: int) -> None:
        source, target = self.where[number], chance.choice(self.zoos)
        step = chance.choice(list(Step)) if chance.random() < self.settings.failures else None
        try:
            if chance.random() < self.settings.mishaps:
                chance.choice((source.grow_hungry, source.fall_sick))(number)
            look_after(source, number)
            self.give(number, source, target, failing_at(step))
        except InjectedFailure:
            self.injected[index][str(step)] += 1
            if step != Step.DONE:
                return
        except ZooError as refusal:
            self.refused[index][type(refusal).__name__] += 1
            return
        self.where[number] = target
        self.completed[index] += 1


class Audit:
    """Counts the animals of all zoos again and again, in a thread of its own.

    populations : animals of each zoo, (audits, zoos)
    wrong : how many audits did not find everyone once
    """

    def __init__(self, run: Run, every_s: float) -> None:
        self.populations: list[list[int]] = []
        self.wrong = 0
        self._run = run
        self._every_s = every_s
        self._everyone = sorted(run.where)

    def work(self) -> None:
        while not self._run.stop:
            found = census(*self._run.zoos)
            self.populations.append([len(numbers) for numbers in found.values()])
            self.wrong += sorted(itertools.chain(*found.values())) != self._everyone
            time.sleep(self._every_s)


def stress(settings: Settings, give: Give = transfer, audit_every_s: float = 0.02) -> Outcome:
    """Transfer at random until `settings.transfers` are completed, counting the animals all the while.

    Raises
    ------
    Stuck : nothing moved for a while; the threads wait for each other
    """
    run = Run(settings, give)
    audit = Audit(run, audit_every_s)
    threads = [threading.Thread(target=run.work, args=(index,), daemon=True) for index in range(settings.threads)]
    auditor = threading.Thread(target=audit.work, daemon=True)
    start = time.perf_counter()
    for thread in (auditor, *threads):
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        _wait(run, threads)
    finally:
        run.stop = True
        sys.setswitchinterval(interval)
    seconds = time.perf_counter() - start
    auditor.join(PATIENCE)
    if run.failure is not None:
        raise run.failure
    return _outcome(run, audit, seconds)


def _wait(run: Run, threads: Sequence[threading.Thread]) -> None:
    completed, since = -1, time.monotonic()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)
            if sum(run.completed) != completed:
                completed, since = sum(run.completed), time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                raise Stuck(f"No transfer was completed for {PATIENCE:.0f} s, after {completed}.")


def _outcome(run: Run, audit: Audit, seconds: float) -> Outcome:
    found = Counter(itertools.chain(*census(*run.zoos).values()))
    return Outcome(
        completed=sum(run.completed),
        seconds=seconds,
        populations=audit.populations,
        wrong_audits=audit.wrong,
        injected=sum(run.injected, Counter()),
        refused=sum(run.refused, Counter()),
        lost=sorted(set(run.where) - set(found)),
        doubled=sorted(number for number, times in found.items() if times > 1),
        journeys=sum(animal.journeys for zoo in run.zoos for animal in zoo.animals()),
    )
