import time

import numpy as np
import pytest

from benchmarks import registry, session
from benchmarks.machine import Ceilings
from benchmarks.registry import Side, Unavailable


def failing(error):
    def factory(data):
        raise error

    return factory


def result_of(make):
    return lambda data: Side(lambda: make(data), np.asarray)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: 2.0001 * x,
        lambda x: np.full_like(x, np.nan),
        lambda x: 2.0 * x[:10],
        lambda x: np.where(x == 2, np.inf, 2.0 * x),
    ],
)
def test_wrong_result_is_recorded_and_not_timed(make_case, wrong):
    case = make_case(ours=result_of(wrong))
    sides, entries = session.prepare(case, case.make(), [])
    assert list(sides) == ["numpy"]
    assert "wrong result" in entries["fastcore"]["failed"]


def test_error_of_a_side_is_its_record(make_case):
    peers = {"absent": failing(Unavailable("absent is not installed")), "broken": failing(RuntimeError("no kernel"))}
    case = make_case(peers=peers)
    sides, entries = session.prepare(case, case.make(), ["absent", "broken"])
    assert list(sides) == ["fastcore", "numpy"]
    assert entries["absent"] == {"missing": "absent is not installed"}
    assert entries["broken"] == {"failed": "RuntimeError: no kernel"}


def test_faster_way_with_a_wrong_result_gives_way_to_a_right_one(make_case):
    right = Side(lambda: 2.0 * np.arange(64.0), np.asarray, "right")
    wrong = Side(lambda: np.zeros(64), np.asarray, "wrong", slower=(Side(lambda: np.ones(3), np.asarray), right))
    case = make_case(peers={"peer": lambda data: wrong})
    sides, entries = session.prepare(case, case.make(), ["peer"])
    assert sides["peer"] == right
    assert entries["peer"] == {"error": 0.0, "setup": "right"}


def test_case_without_its_input_is_recorded_as_missing(make_case):
    def make():
        raise Unavailable("the weights are not installed")

    record = session.run_case(make_case(make=make), [], (0.0, 1), Ceilings())
    assert record["sides"] == {"fastcore": {"missing": "the weights are not installed"}}
    assert record["ceiling"] is record["fraction"] is None


def test_case_without_a_ceiling_has_no_fraction(make_case):
    record = session.run_case(make_case(ceiling=None), [], (0.0, 1), Ceilings())
    session.fill_fractions([record], {})
    assert record["fraction"] is None
    assert record["sides"]["fastcore"]["seconds"] > 0


def test_peers_may_have_a_tolerance_of_their_own(make_case):
    sides = {"ours": result_of(lambda x: 2.01 * x), "peers": {"rough": result_of(lambda x: 2.01 * x)}}
    case = make_case(peer_tolerance=0.1, **sides)
    prepared, entries = session.prepare(case, case.make(), ["rough"])
    assert list(prepared) == ["numpy", "rough"]
    assert entries["fastcore"]["failed"] == "wrong result: error 0.005, tolerance 1e-12"


def test_bound_is_timed_in_the_same_rounds_and_is_the_ceiling(make_case):
    """The faster of its ways counts; it is no side."""
    calls = []
    ways = [Side(lambda: time.sleep(0.002), np.asarray), Side(lambda: calls.append(1), np.asarray)]
    case = make_case(bound=lambda data: ways, ceiling="bytes")
    record = session.run_case(case, [], (0.0, 3), Ceilings())
    assert calls
    assert set(record["sides"]) == {"fastcore", "numpy"}
    assert record["ceiling"] == registry.BOUND
    assert record["fraction"] == record["share"][0] < 2
    session.fill_fractions([record], {})
    assert record["fraction"] == record["share"][0]


def test_case_without_our_result_has_no_bound(make_case):
    case = make_case(ours=failing(RuntimeError("no kernel")), bound=failing(AssertionError("asked")), ceiling=None)
    record = session.run_case(case, [], (0.0, 3), Ceilings())
    assert record["share"] is record["fraction"] is record["ceiling"] is None


def test_peers_that_were_not_asked_for_are_not_prepared(make_case):
    case = make_case(peers={"unwanted": failing(AssertionError("prepared"))})
    _, entries = session.prepare(case, case.make(), [])
    assert set(entries) == {"fastcore", "numpy"}


def test_pace_shares_out_what_is_left_when_time_runs_short(monkeypatch):
    now = iter([100.0, 150.0, 195.0, 250.0, 300.0])
    monkeypatch.setattr(session.time, "perf_counter", lambda: next(now))
    pace = session.Pace(2.0, 5, 100.0, start=95.0)
    assert [pace.next_case(remaining) for remaining in (10, 10, 1, 1)] == [(2.0, 5), (2.0, 5), (0.0, 3), (0.0, 3)]
    assert session.Pace(6.0, 7, start=0.0).next_case(99) == (6.0, 7)


def test_run_case_records_times_ratio_and_fraction(make_case, monkeypatch):
    monkeypatch.setattr(Ceilings, "measure", lambda self, *what: self.values.setdefault("fma_float64", 1e9))
    ceilings = Ceilings()
    ceilings.values["fma_float64"] = 1e9
    record = session.run_case(make_case(), [], (0.05, 5), ceilings) | {"ceiling": "fma_float64"}
    ours, numpy = record["sides"]["fastcore"], record["sides"]["numpy"]
    assert len(ours["rounds"]) == len(numpy["rounds"]) >= 5
    assert numpy["ratio"][0] == pytest.approx(numpy["seconds"] / ours["seconds"])
    session.fill_fractions([record], ceilings.values)
    assert record["fraction"] == pytest.approx(64.0 / ours["seconds"] / 1e9)
