"""What is entered, and what memory is held by whom: against a plain recount device by device."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore.sharding import Mesh, P, device_function, psum

AXES = {"pp": 3, "dp": 2, "tp": 2}


@device_function(flops=lambda x: 7.0)
def touch(x):
    pass


# Sub-meshes by what they fix, the same devices reached in two ways among them.
FIXED = [{}, {"pp": 0}, {"pp": 2}, {"tp": 1}, {"pp": 1, "dp": 0}, {"dp": 1}, {"dp": 1, "tp": 0, "pp": 2}]


def recount(events, mesh):
    """Peak bytes of each device of the mesh, device by device."""
    held, peak = np.zeros(mesh.size, int), np.zeros(mesh.size, int)
    for part, size in events:
        held[part.devices] += size
        peak = np.maximum(peak, held)
    return held, peak


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(range(len(FIXED))), st.integers(1, 50), st.booleans()), max_size=30))
def test_peak_bytes_equal_a_recount_of_every_device(steps):
    mesh = Mesh(AXES, engine="dry")
    parts = [mesh.at(**fixed) for fixed in FIXED]
    living, events = [], []
    for which, size, keep in steps:
        array = parts[which].empty((size,), np.uint8)
        events.append((parts[which], size))
        if keep or not living:
            living.append(array)
        else:
            old = living.pop(0)
            events.append((old.mesh, -old.nbytes_block))
            del old
            living.append(array)
        del array
    held, peak = recount(events, mesh)
    for part in parts:
        assert mesh.ledger.peak_bytes(part) == peak[part.devices].max(initial=0)
        assert mesh.ledger.held_bytes(part) == held[part.devices].max(initial=0)


def test_at_in_either_order_is_the_same_device():
    mesh = Mesh(AXES, engine="dry")
    first = mesh.at(pp=1).at(tp=0).zeros((8,), np.uint8)
    second = mesh.at(tp=0).at(pp=1).zeros((5,), np.uint8)
    assert mesh.ledger.peak_bytes(mesh) == first.nbytes_block + second.nbytes_block


def test_reset_keeps_what_is_held():
    mesh = Mesh(AXES, engine="dry")
    kept, gone = mesh.zeros((3,), np.uint8), mesh.zeros((9,), np.uint8)
    touch(kept)
    del gone
    mesh.ledger.reset()
    assert len(mesh.ledger.entries) == 0
    assert mesh.ledger.peak_bytes(mesh) == mesh.ledger.held_bytes(mesh) == kept.nbytes_block


def test_equal_entries_are_stored_once():
    mesh = Mesh(AXES, engine="dry")
    x = mesh.zeros((4,), np.float32, P("dp"))
    for _ in range(100):
        touch(x)
        psum(x, "dp")
    entries = mesh.ledger.entries
    assert len(entries) == 200
    assert len(entries.distinct) == 2
    assert entries.counts().tolist() == [100, 100]
    assert [entry.kind for entry in entries[-2:]] == ["compute", "psum"] == [entries[-2].kind, entries[-1].kind]


def test_scope_answers_its_entries():
    mesh = Mesh(AXES, engine="dry")
    x = mesh.zeros((4,), np.float32)
    touch(x)
    with mesh.ledger.scope("stage 0", "forward 1") as span, mesh.ledger.scope("block"):
        touch(x)
        touch(x)
    touch(x)
    assert (span.first, span.last) == (1, 3)
    assert [entry.scope for entry in mesh.ledger.entries] == [(), *[("stage 0", "forward 1", "block")] * 2, ()]


def _forward(part, saved):
    x = part.zeros((10,), np.uint8)
    with part.ledger.scope("block"):
        touch(x)
        larger = part.zeros((100,), np.uint8)
        touch(larger)
    saved.append(x)


def _run(replayed):
    """Six micro-batches on one stage, of which three remain: all done, or all but the first replayed."""
    mesh = Mesh(AXES, engine="dry")
    part, saved, before = mesh.at(pp=1), [], mesh.zeros((1000,), np.uint8)
    forward = backward = None
    for i in range(6):
        with mesh.ledger.scope("outer", f"forward {i}"):
            if replayed and forward:
                mesh.ledger.replay(forward)
            else:
                with mesh.ledger.recording() as forward:
                    _forward(part, saved)
        if i >= 3:
            with mesh.ledger.scope("outer", f"backward {i}"):
                if replayed and backward:
                    mesh.ledger.replay(backward)
                else:
                    with mesh.ledger.recording() as backward:
                        touch(saved[0])
                        saved.pop(0)
    ledger = mesh.ledger
    scopes = [(entry.scope, entry.kind, entry.flops) for entry in ledger.entries]
    memory = [ledger.peak_bytes(mesh.at(pp=i)) for i in range(3)] + [ledger.held_bytes(mesh.at(pp=i)) for i in range(3)]
    del before
    return scopes, memory, list(ledger.entries.held_bytes)


def test_replay_equals_doing_it_again():
    assert _run(replayed=True) == _run(replayed=False)


def test_replay_of_nothing_enters_nothing():
    mesh = Mesh(AXES, engine="dry")
    with mesh.ledger.recording() as recording:
        pass
    mesh.ledger.replay(recording)
    assert len(mesh.ledger.entries) == 0


@pytest.mark.parametrize("engine", ["simulated", "dry"])
def test_arrays_that_die_are_freed(engine):
    mesh = Mesh({"dp": 2}, engine=engine)
    for _ in range(5):
        mesh.zeros((6, 2), np.float64, P("dp"))
    assert mesh.ledger.peak_bytes(mesh) == 6 * 8
    assert mesh.ledger.held_bytes(mesh) == 0
