"""What a benchmark case is, and the list of all of them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Literal

# One module for each domain of the package; each has a function `cases() -> list[Case]`. In this order they run, and a
# quick run that is out of time leaves out the last ones.
METRICS = tuple(f"metrics_{kind}" for kind in ("classification", "ranking", "regression", "clustering", "uplift"))
DOMAINS = (
    "attention", "attention_backward", "attention_scores", "attention_linear", "kvcache", "sentence_embeddings",
    "multi_head", "nn", "autodiff", *METRICS, "polynomial", "sharding", "transformers", "tile", "cold_start",
    "generate",
)  # fmt: skip

OURS = "fastcore"
NUMPY = "numpy"
BOUND = "streaming read"  # the ceiling of a case that has a `bound`


class Unavailable(Exception):
    """Why a peer does not take part in a case: not installed, or it cannot do what the case asks."""


@dataclass(frozen=True)
class Side:
    """One contestant of a case, with everything prepared that is not to be timed.

    `call` computes and returns the result as the library has it; `collect` turns that result into a NumPy array in the
    case's own layout. `setup` says which of several ways of asking the library was chosen; `slower` are the others, the
    fastest first, for where the result of this one is wrong. `seconds` is what a call took before, if that is known.
    """

    call: Callable[[], Any]
    collect: Callable[[Any], Any]
    setup: str = ""
    slower: tuple["Side", ...] = ()
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Check:
    """The part of the result that is judged, `select(result)`, and what it has to be in float64."""

    select: Callable[[Any], Any]
    expected: Any


Factory = Callable[[Any], Side]


@dataclass(frozen=True)
class Case:
    """One comparison: the same task on the same input for all sides.

    Parameters
    ----------
    name : unique, `domain/dtype/sizes/options`; what `--filter` searches
    group : cases that belong on one line of the scaling plot
    sizes : axis letter (see STYLE.md) -> length
    make : makes the input, the same at every call; may raise `Unavailable`
    ours, naive : the two sides every case has
    check : reference result in float64 (a part of it, where all of it would take seconds)
    flops : floating-point operations the task needs; what is masked out does not count
    bytes_moved : each input read once, each output written once
    tolerance : largest error accepted, relative to the largest expected magnitude
    peer_tolerance : the same for peers, where they return fewer digits or store in a format of their own
    ceiling : what bounds the task on an ideal machine; None where that is neither arithmetic nor memory
    bound : makes the sides that do nothing but read what `ours` has to read, where "bytes" of any other array will not
        do; they are called after `ours` was, timed in the same rounds, and the fastest is the ceiling
    bound_name : what these sides do, in two words
    threads : of the ceiling "flops", where it is not all; the sides see to their own
    peers : name -> factory, which raises `Unavailable` where the peer cannot take part
    quick : part of the selection that `--quick` runs
    """

    name: str
    group: str
    sizes: Mapping[str, int]
    dtype: str
    make: Callable[[], Any]
    ours: Factory
    naive: Factory
    check: Callable[[Any], Check]
    flops: float
    bytes_moved: float
    tolerance: float
    ceiling: Literal["flops", "bytes"] | None = "flops"
    bound: Callable[[Any], Sequence[Side]] | None = None
    bound_name: str = BOUND
    threads: int | None = None
    peer_tolerance: float | None = None
    peers: Mapping[str, Factory] = field(default_factory=dict)
    quick: bool = False

    def tolerance_of(self, side: str) -> float:
        """Largest error accepted from a side."""
        return self.tolerance if side in (OURS, NUMPY) or self.peer_tolerance is None else self.peer_tolerance

    def factories(self) -> dict[str, Factory]:
        """All sides in the order of the table: ours, NumPy, peers."""
        return {OURS: self.ours, NUMPY: self.naive, **self.peers}


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case of every domain; imports NumPy, but no peer."""
    return unique(case for domain in DOMAINS for case in cases_of(domain))


def cases_of_this_commit() -> tuple[tuple[Case, ...], list[str]]:
    """For asv: the cases without the domains that the commit under test cannot run, and a line on each of these."""
    cases: list[Case] = []
    left_out: list[str] = []
    for domain in DOMAINS:
        try:
            cases += cases_of(domain)
        except (ImportError, AttributeError) as error:
            left_out.append(f"domain {domain} left out: {error}")
    return unique(cases), left_out


def cases_of(domain: str) -> list[Case]:
    return import_module(f"benchmarks.cases.{domain}").cases()


def unique(found: Iterable[Case]) -> tuple[Case, ...]:
    """The cases, of which no two may have one name."""
    cases = tuple(found)
    names = [case.name for case in cases]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ValueError(f"Case names must be unique; {', '.join(doubles)} came more than once. Rename all but one.")
    return cases


def select(pattern: str | None = None, quick: bool = False, cases: Iterable[Case] | None = None) -> list[Case]:
    """The cases whose name contains a match of the regular expression `pattern`."""
    chosen = [case for case in (all_cases() if cases is None else cases) if case.quick or not quick]
    try:
        expression = re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"filter must be a regular expression; {pattern!r} is none: {error}.") from None
    found = [case for case in chosen if expression.search(case.name)]
    if not found:
        listed = "\n  ".join(case.name for case in chosen)
        raise ValueError(f"No case matches {pattern!r}. There are:\n  {listed}")
    return found


def peer_names(cases: Iterable[Case]) -> list[str]:
    """Peers of the cases in order of first appearance."""
    return list(dict.fromkeys(name for case in cases for name in case.peers))


def select_peers(wanted: str | None, known: Iterable[str]) -> list[str]:
    """`all` (or nothing said), `none`, or a comma-separated list."""
    names = list(known)
    if wanted in (None, "", "all"):
        return names
    if wanted == "none":
        return []
    chosen = [word.strip() for word in str(wanted).split(",") if word.strip()]
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise ValueError(
            f"peers must be all, none or names out of {', '.join(names)}; got {', '.join(unknown)} in {wanted!r}."
        )
    return [name for name in names if name in chosen]
