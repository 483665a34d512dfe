"""The modelled clock and sums of a report against a recount with a clock for every single device."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore.sharding import (
    Link,
    Mesh,
    collective_bytes,
    collective_messages,
    collective_seconds,
    device_function,
    psum,
    transfer,
)

LINK = Link(latency_s=1e-3, bytes_per_s=1000.0, flops_per_s=10.0)
AXES = {"pp": 3, "dp": 2, "tp": 2}
FIXED = [{}, {"pp": 0}, {"pp": 2}, {"tp": 1}, {"pp": 1, "dp": 0}, {"dp": 1}, {"dp": 1, "tp": 0}]


@device_function(flops=lambda x, flops: flops)
def work(x, flops):
    pass


class Recount:
    """Twelve devices, each with a clock, sums and bytes sent of its own."""

    def __init__(self):
        self.now, self.compute, self.communication, self.sent, self.messages = np.zeros((5, 12))

    def work(self, part, flops):
        self.now[part.devices] += flops / LINK.flops_per_s
        self.compute[part.devices] += flops / LINK.flops_per_s

    def psum(self, part, axes, size):
        for group in part.groups(axes):
            devices, n = part.devices[group], len(group)
            seconds = collective_seconds("psum", n, size, LINK)
            self.now[devices] = self.now[devices].max() + seconds
            self.communication[devices] += seconds
            self.sent[devices] += collective_bytes("psum", n, size) / n
            self.messages[devices] += collective_messages("psum", n)

    def transfer(self, part, target, size):
        if part.fixed == target.fixed:
            return
        seconds = collective_seconds("transfer", 2, size, LINK)
        self.now[part.devices] += seconds
        self.now[target.devices] = np.maximum(self.now[target.devices], self.now[part.devices])
        self.communication[part.devices] += seconds
        self.sent[part.devices] += size
        self.messages[part.devices] += 1


STEP = st.tuples(
    st.sampled_from(range(len(FIXED))),
    st.sampled_from(["work", "psum", "transfer"]),
    st.integers(1, 40),
    st.integers(1, 3),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(STEP, max_size=25))
def test_report_equals_a_recount_of_every_device(steps):
    mesh, recount = Mesh(AXES, engine="dry", link=LINK), Recount()
    for which, what, size, choice in steps:
        part = mesh.at(**FIXED[which])
        x = part.zeros((size,), np.float64)
        if what == "work":
            work(x, float(size))
            recount.work(part, size)
        elif what == "psum":
            axes = tuple(list(part.axes)[:choice])
            psum(x, axes)
            recount.psum(part, axes, 8 * size)
        elif "pp" in FIXED[which]:
            target = mesh.at(**{**FIXED[which], "pp": choice - 1})
            transfer(x, target)
            recount.transfer(part, target, 8 * size)
    report = mesh.report()
    assert report.time_s[1] == pytest.approx(recount.now.max(), rel=1e-12)
    assert report.time_s[0] == pytest.approx(np.maximum(recount.compute, recount.communication).max(), rel=1e-12)
    assert report.time_s[0] <= report.time_s[1] * (1 + 1e-12)
    assert report.compute_s == pytest.approx(recount.compute.max(), rel=1e-12)
    assert report.communication_s == pytest.approx(recount.communication.max(), rel=1e-12)
    assert report.bytes_total == round(recount.sent.sum())
    assert report.bytes_device == round(recount.sent.max())
    assert report.messages == recount.messages.max()


def test_report_of_one_mesh_equals_that_of_its_parts():
    """Without sub-meshes sums over distinct entries are enough; with one, the clock goes through all."""
    plain, split = (Mesh({"pp": 2, "tp": 2}, engine="dry", link=LINK) for _ in range(2))
    split.ledger.add(split.at(pp=1), "compute", name="work")
    for mesh in (plain, split):
        x = mesh.zeros((4,), np.float64)
        for _ in range(50):
            work(x, 3.0)
            psum(x, ("pp", "tp"))
    assert plain.report().time_s == pytest.approx(split.report().time_s, rel=1e-12)
