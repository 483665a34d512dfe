import pytest

from benchmarks import timing
from benchmarks.registry import Side


@pytest.mark.parametrize("fraction, expected", [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (1.0, 4.0)])
def test_quantile(fraction, expected):
    assert timing.quantile([4.0, 1.0, 3.0, 2.0], fraction) == expected


def test_ratio_is_of_medians_with_quartiles_of_the_rounds():
    ours = timing.Timed({0: 1.0, 1: 2.0, 2: 1.0, 3: 9.0}, 1)
    other = timing.Timed({0: 3.0, 1: 4.0, 2: 8.0}, 1)
    assert timing.ratio(other, ours) == (4.0 / 1.5, 2.5, 5.5)


def test_ratio_to_a_side_measured_once_has_the_quartiles_of_our_rounds():
    ours = timing.Timed({0: 8.0, 1: 1.0, 2: 2.0, 3: 4.0, 4: 4.0}, 1)
    assert timing.ratio(timing.Timed({0: 8.0}, 1), ours) == (2.0, 2.0, 4.0)


def test_compare_measures_every_side_in_every_round_and_moves_the_order_on(monkeypatch):
    order, told = [], []
    monkeypatch.setattr(timing, "wait_until_idle", lambda: None)
    monkeypatch.setattr(timing, "measure", lambda side, seconds, calls: order.append(side.setup) or 1e-6)
    sides = {name: Side(lambda: None, lambda x: x, name) for name in "abc"}
    timed = timing.compare(sides, 0.0, min_rounds=3, on_round=lambda *progress: told.append(progress))
    assert [len(side.rounds) for side in timed.values()] == [3, 3, 3]
    assert "".join(order) == "abc" + "bca" + "cab"
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_slow_sides_that_are_far_behind_are_measured_in_every_second_round(monkeypatch):
    monkeypatch.setattr(timing, "wait_until_idle", lambda: None)
    monkeypatch.setattr(timing, "calibrate", lambda side: (float(side.setup), 1))
    monkeypatch.setattr(timing, "measure", lambda side, seconds, calls: seconds)
    sides = {name: Side(lambda: None, lambda x: x, name) for name in ("0.05", "0.11", "0.2")}
    for budget_s, rounds in ((1.0, [0, 2, 4]), (0.2, [0, 3]), (0.0, [0])):
        timed = timing.compare(sides, budget_s, min_rounds=5, max_rounds=5)
        assert {name: list(side.rounds) for name, side in timed.items()} == {
            "0.05": [0, 1, 2, 3, 4],
            "0.11": [0, 1, 2, 3, 4],
            "0.2": rounds,
        }


def test_call_that_is_known_to_take_long_is_not_made_to_find_that_out():
    def call():
        raise AssertionError("called")

    assert timing.calibrate(Side(call, lambda x: x, seconds=7.5)) == (7.5, 1)


def test_short_calls_are_repeated_and_long_ones_are_not(monkeypatch):
    for seconds, calls in ((1e-5, 1000), (1.0, 1), (1e-9, 20_000)):
        monkeypatch.setattr(timing, "timed_calls", lambda call, count, seconds=seconds: seconds)
        assert timing.calibrate(Side(lambda: None, lambda x: x))[1] == calls


def test_waiting_for_idle_ends(monkeypatch):
    """Also where other threads never rest."""
    monkeypatch.setattr(timing, "IDLE_LIMIT_S", 0.02)
    clock = iter(range(10_000))
    monkeypatch.setattr(timing.time, "process_time", lambda: float(next(clock)))
    timing.wait_until_idle()
