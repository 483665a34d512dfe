import numpy as np
import pytest

from benchmarks import session
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
    monkeypatch.setattr(Ceilings, "measure", lambda self, kind, dtype, size: self.values.setdefault("fma_float64", 1e9))
    ceilings = Ceilings()
    ceilings.values["fma_float64"] = 1e9
    record = session.run_case(make_case(), [], (0.05, 5), ceilings) | {"ceiling": "fma_float64"}
    ours, numpy = record["sides"]["fastcore"], record["sides"]["numpy"]
    assert len(ours["rounds"]) == len(numpy["rounds"]) >= 5
    assert numpy["ratio"][0] == pytest.approx(numpy["seconds"] / ours["seconds"])
    session.fill_fractions([record], ceilings.values)
    assert record["fraction"] == pytest.approx(64.0 / ours["seconds"] / 1e9)
