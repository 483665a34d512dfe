"""The report's sums, and its modelled clock against times computed by hand."""

import numpy as np
import pytest

from fastcore.sharding import (
    Link,
    Mesh,
    P,
    all_gather,
    collective_bytes,
    collective_messages,
    collective_seconds,
    device_function,
    ppermute,
    psum,
    transfer,
)
from fastcore.sharding.ledger import Interval
from fastcore.sharding.report import quantity, seconds

LINK = Link(latency_s=1e-3, bytes_per_s=1000.0, flops_per_s=10.0)


@device_function(flops=lambda x, flops: flops)
def work(x, flops):
    pass


@device_function
def uncounted(x):
    pass


def _dry(axes):
    return Mesh(axes, engine="dry", link=LINK)


@pytest.mark.parametrize("engine", ["simulated", "dry"])
def test_report_of_nothing(engine):
    mesh = Mesh({"dp": 2}, engine=engine)
    report = mesh.report()
    assert report.time_s == (0.0, 0.0)
    assert report.collectives == report.kernels == ()
    assert report.bytes_total == report.bytes_device == report.messages == report.peak_bytes == 0
    assert report.bubble == 0.0
    assert "2 devices" in str(report)


def test_report_mesh_without_axes():
    mesh = _dry({})
    work(mesh.zeros((2,), np.float64), 5.0)
    report = mesh.report()
    assert report.time_s == (0.5, 0.5)
    assert report.peak_bytes == 16
    assert "1 device" in str(report)


def test_report_rows_and_time_of_one_mesh():
    mesh = _dry({"dp": 2, "tp": 4})
    x = mesh.zeros((4, 3), np.float64, P("tp"))
    size = x.nbytes_block
    for _ in range(3):
        work(x, 40.0)
        psum(x, "tp")
    all_gather(x, "dp")
    uncounted(x)
    report = mesh.report()
    summed, gathered = report.collectives
    assert (gathered.kind, gathered.axis, gathered.calls) == ("all_gather", "dp", 1)
    assert (summed.kind, summed.axis, summed.calls) == ("psum", "tp", 3)
    assert summed.messages == 3 * collective_messages("psum", 4)
    assert summed.bytes_total == 3 * collective_bytes("psum", 4, size) * 2
    assert summed.bytes_device == summed.bytes_total // 8
    assert summed.seconds == pytest.approx(3 * collective_seconds("psum", 4, size, LINK))
    assert gathered.bytes_total == collective_bytes("all_gather", 2, size) * 4
    first, second = report.kernels
    assert (first.name, first.calls, first.flops_device, first.flops_total) == ("work", 3, 120.0, 960.0)
    assert (second.name, second.flops_device, second.flops_total) == ("uncounted", None, None)
    assert report.bytes_total == gathered.bytes_total + summed.bytes_total
    assert report.messages == summed.messages + 1
    assert report.compute_s == pytest.approx(12.0)
    assert report.communication_s == pytest.approx(summed.seconds + gathered.seconds)
    assert report.time_s == pytest.approx((12.0, 12.0 + report.communication_s))


def test_report_sub_meshes_work_at_the_same_time():
    mesh = _dry({"pp": 2, "tp": 2})
    first, second = mesh.at(pp=0), mesh.at(pp=1)
    work(first.zeros((), np.float32), 10.0)
    work(second.zeros((), np.float32), 30.0)
    assert mesh.report().time_s == pytest.approx((3.0, 3.0))
    assert mesh.report().flops_device == 30.0
    assert mesh.report().flops_total == 80.0


def test_report_collective_waits_for_its_group():
    mesh = _dry({"pp": 2, "tp": 2})
    work(mesh.at(pp=0).zeros((), np.float32), 10.0)
    work(mesh.at(pp=1).zeros((), np.float32), 30.0)
    x = mesh.zeros((4,), np.float64)
    psum(x, "pp")
    work(mesh.at(pp=0).zeros((), np.float32), 20.0)
    together = collective_seconds("psum", 2, 32, LINK)
    lower, upper = mesh.report().time_s
    assert upper == pytest.approx(3.0 + together + 2.0)
    assert lower == pytest.approx(3.0)  # both devices compute 3 s


def test_report_collective_of_others_waits_for_nobody():
    mesh = _dry({"pp": 2, "tp": 2})
    work(mesh.at(pp=1).zeros((), np.float32), 30.0)
    psum(mesh.zeros((4,), np.float64), "tp")
    work(mesh.at(pp=0).zeros((), np.float32), 10.0)
    assert mesh.report().time_s[1] == pytest.approx(3.0 + collective_seconds("psum", 2, 32, LINK))


def test_report_transfer_is_waited_for_by_hand_written_stages():
    mesh = _dry({"pp": 2, "tp": 2})
    x = mesh.at(pp=0).zeros((4,), np.float64)
    work(x, 10.0)
    y = transfer(x, mesh.at(pp=1))
    work(y, 20.0)
    sent = collective_seconds("transfer", 2, 32, LINK)
    lower, upper = mesh.report().time_s
    assert upper == pytest.approx(1.0 + sent + 2.0)
    assert lower == pytest.approx(2.0)


def test_report_partial_permutation_counts_what_moves():
    mesh = _dry({"a": 4})
    x = mesh.zeros((8,), np.uint8)
    ppermute(x, "a", [(0, 1), (2, 2)])
    (row,) = mesh.report().collectives
    assert row.bytes_total == 8
    assert row.bytes_device == 2  # the mean of four devices


def _pipeline(mesh, send):
    """Two stages, two micro-batches, forward only: 1 s and 2 s an action."""
    stages = [mesh.at(pp=0), mesh.at(pp=1)]
    arrays = [stage.zeros((4,), np.float64) for stage in stages]
    first, intervals = len(mesh.ledger.entries), []
    free = 0.0
    for i in range(2):
        with mesh.ledger.scope("stage 0", f"forward {i}") as span:
            work(arrays[0], 10.0)
        intervals.append(Interval(f"forward {i}", span, stages[0], float(i), i + 1.0))
        with mesh.ledger.scope("stage 0", f"send forward {i}") as span:
            transfer(arrays[0], stages[1])
        intervals.append(Interval(f"send forward {i}", span, stages[0], i + 1.0, i + 1.0 + send))
        with mesh.ledger.scope("stage 1", f"forward {i}") as span:
            work(arrays[1], 20.0)
        start = max(free, i + 1.0 + send)
        free = start + 2.0
        intervals.append(Interval(f"forward {i}", span, stages[1], start, free))
    mesh.ledger.add_pipeline(first, intervals, intervals)


def test_report_pipeline_takes_its_own_times():
    mesh = _dry({"pp": 2, "tp": 2})
    x = mesh.zeros((4,), np.float64)
    work(x, 5.0)
    _pipeline(mesh, send=0.25)
    psum(x, "pp")
    report = mesh.report()
    summed = collective_seconds("psum", 2, 32, LINK)
    assert report.time_s[1] == pytest.approx(0.5 + 5.25 + summed)
    assert report.time_s[0] == pytest.approx(0.5 + 5.25 + summed)
    assert report.bubble == pytest.approx((2 * 5.25 - 6.0) / 6.0)
    assert report.compute_s == pytest.approx(0.5 + 4.0)


def test_report_two_pipelines_follow_each_other():
    mesh = _dry({"pp": 2, "tp": 2})
    _pipeline(mesh, send=0.0)
    _pipeline(mesh, send=0.0)
    report = mesh.report()
    assert report.time_s == pytest.approx((10.0, 10.0))
    assert report.bubble == pytest.approx((4 * 5.0 - 12.0) / 12.0)


def test_reset_report_forgets_all_but_arrays():
    mesh = _dry({"pp": 2, "tp": 2})
    _pipeline(mesh, send=0.0)
    kept = mesh.zeros((4,), np.float64)
    mesh.reset_report()
    report = mesh.report()
    assert report.time_s == (0.0, 0.0)
    assert report.kernels == ()
    assert report.peak_bytes == kept.nbytes_block


def test_report_is_the_same_on_simulated_and_dry_devices():
    reports = []
    for engine in ("simulated", "dry"):
        mesh = Mesh({"pp": 2, "tp": 2}, engine=engine, link=LINK)
        _pipeline(mesh, send=0.5)
        psum(mesh.zeros((5,), np.float64), "tp")
        reports.append(mesh.report()._replace(engine=""))
    assert reports[0] == reports[1]


def test_report_of_a_sub_mesh_is_that_of_all():
    mesh = _dry({"pp": 2, "tp": 2})
    _pipeline(mesh, send=0.5)
    assert mesh.at(pp=1).report() == mesh.report()


def test_report_text_has_every_number():
    mesh = _dry({"dp": 2, "tp": 4})
    x = mesh.zeros((1000,), np.float64)
    work(x, 1e6)
    psum(x, ("dp", "tp"))
    text = str(mesh.report())
    rows = [line.split() for line in text.split("\n")]
    assert "8 devices {'dp': 2, 'tp': 4}, dry; latency 1 ms, 1 kB/s, 10 FLOP/s a device" in text
    assert ["psum", "dp,tp", "1", "14", "14", "kB", "112", "kB", "14", "s"] in rows
    assert ["work", "1", "1", "M", "8", "M", "100000", "s"] in rows
    assert "peak memory 16 kB a device; sent 14 kB a device, 112 kB in total; 1 MFLOP a device" in text
    assert all(line == line.rstrip() for line in text.split("\n"))


@pytest.mark.parametrize(
    "value, text",
    [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (1234567, "1.23 MB"), (9.9951e11, "1 TB"), (2e21, "2e+03 EB")],
)
def test_quantity_three_digits(value, text):
    assert quantity(value, "B") == text


@pytest.mark.parametrize(
    "value, text",
    [(0.0, "0 s"), (2e-9, "2 ns"), (1.2345e-6, "1.23 µs"), (0.9996e-3, "1 ms"), (5.0, "5 s"), (12345.6, "12346 s")],
)
def test_seconds_three_digits(value, text):
    assert seconds(value) == text


def test_report_kernels_that_do_not_say_their_operations_are_named():
    mesh = _dry({"tp": 2})
    x = mesh.zeros((2,), np.float64)
    work(x, 20.0)
    assert mesh.report().uncounted == ()
    assert "unknown" not in str(mesh.report())
    uncounted(x)
    report = mesh.report()
    assert report.uncounted == ("uncounted",)
    assert (report.flops_device, report.flops_total, report.compute_s) == (20.0, 40.0, 2.0)
    lines = str(report).splitlines()
    assert [line.split() for line in lines if line.startswith("uncounted")] == [["uncounted", "1", *["unknown"] * 3]]
    assert lines[-1] == ("computing and time leave out uncounted: say their operations by device_kernel(flops=…)")
