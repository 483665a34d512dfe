import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.sharding.schedule import (
    Action,
    pipeline_bubble,
    pipeline_in_flight,
    pipeline_schedule,
    simulate_schedule,
)

PAPER = [(4, 8), (8, 32), (16, 64)]
# Schedule and chunks a device; in Narayanan et al. 2021 interleaving has v > 1, and v = 1 is its limit.
KINDS = [("gpipe", 1), ("1f1b", 1), ("interleaved", 1), ("interleaved", 2), ("interleaved", 3), ("interleaved", 4)]


@pytest.mark.parametrize("devices, microbatches", PAPER)
@pytest.mark.parametrize("schedule, chunks", KINDS)
@pytest.mark.parametrize("backward_s", [2, 1, 7])
def test_simulate_schedule_even_stages_equals_closed_forms(devices, microbatches, schedule, chunks, backward_s):
    actions = pipeline_schedule(schedule, devices, microbatches, chunks)
    timeline = simulate_schedule(actions, 1, backward_s)  # integers, so that sums are exact
    ideal = chunks * microbatches * (1 + backward_s)
    assert timeline.seconds == ideal + (devices - 1) * (1 + backward_s)
    assert timeline.busy.tolist() == [ideal] * devices
    assert timeline.bubble == pytest.approx((devices - 1) / (chunks * microbatches), rel=1e-14)
    assert pipeline_bubble(devices, microbatches, chunks) == (devices - 1) / (chunks * microbatches)


@pytest.mark.parametrize("devices, microbatches", PAPER)
def test_simulate_schedule_in_flight_equals_closed_forms(devices, microbatches):
    expected = {
        ("gpipe", 1): microbatches,
        ("1f1b", 1): min(devices, microbatches),
        **{("interleaved", v): 2 * (devices - 1) + (v - 1) * devices + 1 for v in (1, 2, 3, 4)},
    }
    for (schedule, chunks), most in expected.items():
        timeline = simulate_schedule(pipeline_schedule(schedule, devices, microbatches, chunks), 1, 2)
        assert timeline.in_flight[0] == timeline.in_flight.max() == most
        assert pipeline_in_flight(schedule, devices, microbatches, chunks) == most


@given(st.sampled_from(KINDS), st.integers(1, 6), st.integers(1, 4), st.integers(1, 5))
def test_simulate_schedule_any_numbers_equal_closed_forms(kind, devices, groups, backward_s):
    schedule, chunks = kind
    microbatches = groups * devices if schedule == "interleaved" else groups
    timeline = simulate_schedule(pipeline_schedule(schedule, devices, microbatches, chunks), 1, backward_s)
    assert timeline.bubble == pytest.approx(pipeline_bubble(devices, microbatches, chunks), abs=1e-12)
    assert timeline.in_flight[0] == pipeline_in_flight(schedule, devices, microbatches, chunks)


@given(st.sampled_from(KINDS), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_pipeline_schedule_has_every_action_once_and_microbatches_in_order(kind, devices, groups, backward):
    schedule, chunks = kind
    microbatches = groups * devices if schedule == "interleaved" else groups
    rows = pipeline_schedule(schedule, devices, microbatches, chunks, backward=backward)
    assert [len(row) for row in rows] == [microbatches * chunks * (1 + backward)] * devices
    for kind in ("forward", "backward") if backward else ("forward",):
        for chunk in range(chunks * devices):
            done = [each.microbatch for each in rows[chunk % devices] if each.kind == kind and each.chunk == chunk]
            assert done == list(range(microbatches))


def test_pipeline_schedule_1f1b_is_the_papers_figure():
    # Figure 4, top, of Narayanan et al. 2021: device 1 of 4 (here 0), 8 micro-batches.
    order = [(each.kind[0], each.microbatch + 1) for each in pipeline_schedule("1f1b", 4, 8)[0]]
    assert order[:8] == [("f", 1), ("f", 2), ("f", 3), ("f", 4), ("b", 1), ("f", 5), ("b", 2), ("f", 6)]


def test_pipeline_schedule_interleaved_is_the_papers_figure():
    # Figure 4, bottom: device 1 runs 1 2 3 4 of its first chunk, 1 2 3 4 of its second, 5 6 then backward passes begin.
    order = [(e.kind[0], e.chunk, e.microbatch + 1) for e in pipeline_schedule("interleaved", 4, 8, 2)[0]]
    assert order[:10] == [("f", c, i) for c in (0, 4) for i in (1, 2, 3, 4)] + [("f", 0, 5), ("f", 0, 6)]
    assert order[10:14] == [("f", 0, 7), ("b", 4, 1), ("f", 0, 8), ("b", 4, 2)]


def longest_paths(actions, compute, transfer, blocking):
    """(kind, chunk, microbatch) → (start, end), by relaxation until nothing moves: slow and plain."""
    p = len(actions)
    chunks = 1 + max(each.chunk for row in actions for each in row)
    start = {each: 0.0 for row in actions for each in row}
    arrival = {}

    def moves(each):
        target = each.chunk + (1 if each.kind == "forward" else -1)
        return 0 <= target < chunks and target % p != each.chunk % p

    def target(each):
        if each.kind == "forward" and each.chunk == chunks - 1:
            return Action("backward", each.chunk, each.microbatch)
        return Action(each.kind, each.chunk + (1 if each.kind == "forward" else -1), each.microbatch)

    while True:
        before = dict(start)
        for row in actions:
            free, links = 0.0, {}
            for each in row:
                start[each] = max(free, arrival.get(each, 0.0))
                done = start[each] + compute[each]
                if moves(each):
                    link = (each.chunk % p, target(each).chunk % p)
                    links[link] = arrival[target(each)] = max(done, links.get(link, 0.0)) + transfer[each]
                    free = links[link] if blocking else done
                else:
                    arrival[target(each)] = free = done
        if start == before:
            return start


@given(
    st.sampled_from(KINDS), st.integers(1, 4), st.integers(1, 2), st.booleans(), st.booleans(), st.integers(0, 2**32)
)
def test_simulate_schedule_uneven_times_equal_longest_paths(kind, devices, groups, blocking, backward, seed):
    schedule, v = kind
    m = groups * devices if schedule == "interleaved" else groups + 1
    rng = np.random.default_rng(seed)
    forward, backwards, ahead, back = rng.integers(0, 9, (4, v * devices, m)).astype(float)
    actions = pipeline_schedule(schedule, devices, m, v, backward=backward)
    compute = {e: float((forward if e.kind == "forward" else backwards)[e[1:]]) for row in actions for e in row}
    transfer = {e: float((ahead if e.kind == "forward" else back)[e[1:]]) for row in actions for e in row}
    timeline = simulate_schedule(
        actions, forward, backwards, forward_transfer_s=ahead, backward_transfer_s=back, blocking=blocking
    )
    expected = longest_paths(actions, compute, transfer, blocking)
    assert {each: timeline.start[each.kind][each[1:]] for each in expected} == expected
    assert timeline.busy.sum() == sum(compute.values())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 12))
def test_simulate_schedule_forward_only_is_a_flow_shop(stages, microbatches, transfer):
    # The first micro-batch passes through everything, the others follow in step with the slowest stage or link.
    actions = pipeline_schedule("gpipe", len(stages), microbatches, backward=False)
    timeline = simulate_schedule(actions, stages, forward_transfer_s=transfer)
    links = [transfer] * (len(stages) - 1)
    assert timeline.seconds == sum(stages) + sum(links) + (microbatches - 1) * max(stages + links)
    assert set(timeline.start) == {"forward"}


def test_simulate_schedule_blocking_takes_no_less_time():
    for schedule, chunks in KINDS:
        actions = pipeline_schedule(schedule, 4, 8, chunks)
        times = {"forward_s": 1, "backward_s": 2, "forward_transfer_s": 0.25, "backward_transfer_s": 0.25}
        free, blocking = (simulate_schedule(actions, **times, blocking=each) for each in (False, True))
        assert free.seconds < blocking.seconds
        assert free.busy.tolist() == blocking.busy.tolist()


def test_simulate_schedule_one_device_is_never_idle():
    timeline = simulate_schedule(pipeline_schedule("interleaved", 1, 3, 2), [1, 2], [2, 4], forward_transfer_s=100)
    assert (timeline.seconds, timeline.bubble) == (27.0, 0.0)


def test_simulate_schedule_without_time_has_no_bubble():
    assert simulate_schedule(pipeline_schedule("1f1b", 2, 2), 0, 0).bubble == 0.0


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("zigzag", 2, 2), ValueError, "schedule must be one of 'gpipe', '1f1b', 'interleaved'. Got 'zigzag'"),
        ((1, 2, 2), TypeError, "schedule must be one of"),
        (("gpipe", 0, 2), ValueError, "devices must be at least 1. Got 0"),
        (("gpipe", 2, 2.5), TypeError, "microbatches must be an integer. Got 2.5"),
        (("gpipe", 2, 2, True), ValueError, "chunks must be at least 1"),
        (("1f1b", 2, 2, 2), ValueError, "schedule '1f1b' has one stage a device. Got 4 stages on 2 devices"),
        (("interleaved", 4, 6, 2), ValueError, "multiple of the devices .* Got 6 micro-batches on 4 devices"),
    ],
)
def test_pipeline_schedule_wrong_argument_raises(arguments, error, message):
    for function in (pipeline_schedule, pipeline_in_flight):
        with pytest.raises(error, match=message):
            function(*arguments)


F, B = (lambda chunk, i: Action("forward", chunk, i)), (lambda chunk, i: Action("backward", chunk, i))


@pytest.mark.parametrize(
    "actions, message",
    [
        ([], "at least one action"),
        ([[F(0, 0)], [F(0, 1)]], "Chunk 0 must be on device 0 of 2"),
        ([[F(0, 0), F(0, 0)]], "each action once"),
        ([[F(0, 0), F(0, 2)]], "each of 1 chunks x 3 micro-batches"),
        ([[B(0, 0)]], "each of 1 chunks x 1 micro-batches"),
        ([[Action("sideways", 0, 0)]], "An action must be one of"),
        ([[B(0, 0), F(0, 0)]], "never ends: device 0 waits for the input of Action"),
        ([[F(0, 0), B(0, 0), F(0, 1), B(0, 1)], [F(1, 1), F(1, 0), B(1, 0), B(1, 1)]], "never ends: device 0 waits"),
    ],
)
def test_simulate_schedule_impossible_schedule_raises(actions, message):
    with pytest.raises(ValueError, match=message):
        simulate_schedule(actions, 1, 1)


@pytest.mark.parametrize(
    "forward_s, error, message",
    [
        ([1, 2, 3], ValueError, r"forward_s must be one number, or of shape \(2,\).* Got \(3,\)"),
        (-1, ValueError, "forward_s must be finite and not negative"),
        (np.nan, ValueError, "forward_s must be finite and not negative"),
        ("fast", TypeError, "forward_s must be numbers. Got"),
    ],
)
def test_simulate_schedule_wrong_times_raise(forward_s, error, message):
    with pytest.raises(error, match=message):
        simulate_schedule(pipeline_schedule("gpipe", 2, 4), forward_s, 1)


def test_pipeline_bubble_wrong_number_raises():
    with pytest.raises(ValueError, match=r"microbatches must be at least 1\. Got 0"):
        pipeline_bubble(2, 0)
