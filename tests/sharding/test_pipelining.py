import math

import numpy as np
import pytest

from fastcore.reference.sharding_pipeline import pipeline as reference
from fastcore.sharding import Link, Mesh, pipeline, pipeline_bubble, pipeline_in_flight
from tests.sharding.small_stages import (
    Dense,
    Keep,
    Plain,
    Wrong,
    cut,
    numbers,
    on_stages,
    plain_squared_error,
    squared_error,
)

SCHEDULES = [("gpipe", 1), ("1f1b", 1), ("interleaved", 1), ("interleaved", 2), ("interleaved", 3)]


def widths(stages):
    return [3 + k % 4 for k in range(stages + 1)]


def trained(axes, schedule, chunks, rows, m, dtype=np.float64, engine="simulated"):
    mesh = Mesh(axes, engine=engine)
    stages = chunks * axes["pp"]
    layers, inputs, targets = on_stages(mesh, stages, widths(stages), rows, m, dtype)
    return mesh, pipeline(layers, inputs, schedule, loss=squared_error, targets=targets)


def plain(stages, rows, m=1, dtype=np.float64):
    """Without devices, on the whole batch or the same micro-batches."""
    params, x, target = numbers(widths(stages), rows, dtype)
    return reference(
        [Plain(*pair) for pair in params], np.array_split(x, m), plain_squared_error, np.array_split(target, m)
    )


def assert_close(result, expected, rtol):
    loss, grads, _ = expected
    np.testing.assert_allclose(result.loss.gather(), loss, rtol=rtol)
    for found, named in zip(result.grads, grads, strict=True):
        assert set(found) == set(named)
        for name, grad in named.items():
            scale = np.abs(grad).max()
            np.testing.assert_allclose(found[name].gather(), grad, rtol=rtol, atol=rtol * scale)


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("schedule, chunks", SCHEDULES)
@pytest.mark.parametrize("rows_more", [0, 5])
def test_pipeline_equals_whole_batch(devices, schedule, chunks, rows_more):
    m = 2 * devices
    _, result = trained({"pp": devices}, schedule, chunks, 3 * m + rows_more, m)
    assert_close(result, plain(chunks * devices, 3 * m + rows_more), 1e-12)


@pytest.mark.parametrize(
    "axes", [{"dp": 2, "pp": 2}, {"pp": 4, "dp": 2}, {"dp": 2, "pp": 2, "tp": 2}, {"pp": 3, "dp": 3}]
)
@pytest.mark.parametrize("schedule, chunks", SCHEDULES[1:4:2])
def test_pipeline_beside_other_axes_equals_whole_batch(axes, schedule, chunks):
    m = 2 * axes["pp"]
    _, result = trained(axes, schedule, chunks, 2 * axes["dp"] * m, m)
    assert_close(result, plain(chunks * axes["pp"], 2 * axes["dp"] * m), 1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, 7])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_pipeline_any_number_of_microbatches_equals_whole_batch(m, schedule):
    _, result = trained({"pp": 3}, schedule, 1, 11, m)
    assert_close(result, plain(3, 11), 1e-12)


def test_pipeline_float32_is_close_to_float64():
    _, result = trained({"pp": 4}, "1f1b", 1, 24, 8, np.float32)
    assert all(each.dtype == np.float32 for grads in result.grads for each in grads.values())
    assert result.loss.dtype == np.float64
    assert_close(result, plain(4, 24), 2e-6)


def test_pipeline_schedules_give_the_same_bits():
    found = []
    for schedule, devices, chunks in [("gpipe", 6, 1), ("1f1b", 6, 1), ("interleaved", 3, 2), ("interleaved", 2, 3)]:
        _, result = trained({"pp": devices}, schedule, chunks, 40, 12)
        found.append([result.loss.gather(), *(each.gather() for grads in result.grads for each in grads.values())])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert one.tobytes() == other.tobytes()


def test_pipeline_half_gradients_are_summed_in_float32():
    class Half(Keep):
        def backward(self, saved, grad_out):
            return grad_out, {"weight": self.mesh.put(np.full(2, 1.0 if self.first() else 2.0**-12, np.float16))}

        def first(self):
            self.done = getattr(self, "done", -1) + 1
            return self.done == 0

    mesh = Mesh({"pp": 1})
    stage = Half(mesh.at(pp=0), 1)
    stage.params = {"weight": stage.mesh.zeros((2,), np.float16)}
    result = pipeline([stage], cut(np.zeros((4, 1)), 4, stage.mesh), loss=no_loss)
    grad = result.grads[0]["weight"]
    assert grad.dtype == np.float32
    np.testing.assert_array_equal(grad.gather(), 1.0 + 3 * 2.0**-12)  # float16 would lose all but the first


@pytest.mark.parametrize("schedule, chunks", SCHEDULES)
def test_pipeline_forward_only_returns_outputs(schedule, chunks):
    mesh = Mesh({"pp": 2})
    layers, inputs, _ = on_stages(mesh, 2 * chunks, widths(2 * chunks), 10, 4)
    result = pipeline(layers, inputs, schedule)
    _, _, expected = plain(2 * chunks, 10, 4)
    assert (result.loss, result.grads) == (None, [{}] * 2 * chunks)
    for y, wanted in zip(result.outputs, expected, strict=True):
        np.testing.assert_allclose(y.gather(), wanted, rtol=1e-13)
    assert result.lower.in_flight.max() == 4 * chunks
    del y, result
    assert mesh.ledger.held_bytes(mesh.at(pp=1)) == sum(
        each.nbytes_block for layer in layers[1::2] for each in layer.params.values()
    )


def test_pipeline_first_stage_needs_no_gradient_of_its_input():
    mesh, whole = trained({"pp": 2}, "1f1b", 1, 8, 4)
    layers, inputs, targets = on_stages(mesh, 2, widths(2), 8, 4)
    result = pipeline([Wrong(layers[0], grad_x=None), layers[1]], inputs, loss=squared_error, targets=targets)
    np.testing.assert_array_equal(result.grads[0]["weight"].gather(), whole.grads[0]["weight"].gather())


def test_pipeline_does_not_change_inputs_or_params():
    mesh = Mesh({"pp": 2})
    layers, inputs, targets = on_stages(mesh, 2, [2, 3, 2], 8, 4)
    arrays = [*inputs, *targets, *(each for layer in layers for each in layer.params.values())]
    before = [each.local.copy() for each in arrays]
    pipeline(layers, inputs, loss=squared_error, targets=targets)
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array.local, copy)


# --- memory ---------------------------------------------------------------------------------------------------------


def no_loss(y):
    return y.mesh.zeros((), np.float64), y.mesh.from_blocks(y.local, y.spec, y.shape, y.dtype)


@pytest.mark.parametrize("engine", ["simulated", "dry"])
@pytest.mark.parametrize("schedule, chunks", SCHEDULES)
@pytest.mark.parametrize("devices, m", [(4, 8), (1, 3)])
def test_pipeline_memory_follows_the_schedule(engine, schedule, chunks, devices, m):
    mesh = Mesh({"pp": devices}, engine=engine)
    parts = [mesh.at(pp=k) for k in range(devices)]
    kept = 1000
    inputs = [parts[0].zeros((1,), np.float64) for _ in range(m)]
    stages = [Keep(parts[k % devices], kept) for k in range(chunks * devices)]
    result = pipeline(stages, inputs, schedule, loss=no_loss)
    saved = [mesh.ledger.peak_bytes(part) // (8 * kept) for part in parts]
    assert saved == result.lower.in_flight.tolist() == result.upper.in_flight.tolist()
    assert saved[0] == pipeline_in_flight(schedule, devices, len(inputs), chunks)
    del result
    assert [mesh.ledger.held_bytes(part) for part in parts] == [8 * len(inputs), *[0] * (devices - 1)]


# --- cost -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices, m", [(4, 8), (8, 32), (16, 64)])
@pytest.mark.parametrize("schedule, chunks", [("gpipe", 1), ("1f1b", 1), ("interleaved", 2)])
def test_pipeline_of_even_stages_has_the_bubble_of_the_paper(devices, m, schedule, chunks):
    mesh = Mesh({"pp": devices}, engine="dry", link=Link(latency_s=0.0, bytes_per_s=math.inf))
    stages = chunks * devices
    layers = [Dense(mesh.at(pp=k % devices), np.zeros((64, 64)), np.zeros(64)) for k in range(stages)]
    inputs = cut(np.zeros((64 * m, 64)), m, layers[0].mesh)
    result = pipeline(layers, inputs, schedule, loss=no_loss)
    # The loss's sum is one operation more on the last stage.
    assert result.lower.bubble == pytest.approx(pipeline_bubble(devices, m, chunks), rel=2e-5)
    assert result.lower.seconds == pytest.approx(result.upper.seconds, rel=1e-12)


@pytest.mark.parametrize("schedule, chunks", SCHEDULES)
def test_pipeline_dry_enters_what_simulated_enters(schedule, chunks):
    found = []
    for engine in ("simulated", "dry"):
        mesh, result = trained({"pp": 2, "dp": 2}, schedule, chunks, 21, 4, engine=engine)
        ledger = mesh.ledger
        entries = [each._replace(mesh=each.mesh.fixed, target=None) for each in ledger.entries]
        peaks = [ledger.peak_bytes(mesh.at(pp=k)) for k in range(2)]
        times = [
            (each.name, each.start_s, each.end_s, each.span.first, each.span.last)
            for each in (*ledger.pipelines[0].lower, *ledger.pipelines[0].upper)
        ]
        found.append((entries, peaks, times, result.lower.seconds, result.upper.seconds))
    assert found[0] == found[1]


def test_pipeline_enters_its_times_into_the_ledger():
    mesh, result = trained({"pp": 3}, "1f1b", 1, 12, 6)
    (record,) = mesh.ledger.pipelines
    assert (record.first, record.last) == (0, len(mesh.ledger.entries))
    names = {each.name for each in record.lower}
    assert {"forward 0", "backward 5", "send forward 3", "send backward 0"} <= names
    # 3 stages x 6 micro-batches both ways, and what goes over 2 borders both ways.
    assert len(record.lower) == len(record.upper) == 36 + 24
    covered = sorted(each.span.last - each.span.first for each in record.lower)
    assert sum(covered) == len(mesh.ledger.entries)
    for intervals, timeline in ((record.lower, result.lower), (record.upper, result.upper)):
        assert max(each.end_s for each in intervals) == timeline.seconds
    assert 0 < result.lower.seconds < result.upper.seconds


def test_pipeline_gives_the_report_its_time_and_bubble():
    mesh, result = trained({"pp": 3}, "1f1b", 1, 12, 6)
    report = mesh.report()
    assert report.time_s == pytest.approx((result.lower.seconds, result.upper.seconds), rel=1e-12)
    assert report.bubble == pytest.approx(result.upper.bubble, rel=1e-12)


def test_pipeline_counts_what_stages_send():
    mesh, _ = trained({"pp": 3, "dp": 2}, "1f1b", 1, 24, 6)
    sent = sum(each.sent_bytes for each in mesh.ledger.entries if each.kind == "transfer")
    rows, borders = 24, (4, 5)  # widths between the three stages
    assert sent == 2 * rows * sum(borders) * 8
    assert {each.axis for each in mesh.ledger.entries if each.kind == "transfer"} == {"pp"}


def test_reference_pipeline_of_microbatches_equals_whole_batch():
    for one, other in zip(plain(3, 12)[1], plain(3, 12, 4)[1], strict=True):
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-14)
