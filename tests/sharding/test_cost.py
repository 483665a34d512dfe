"""Formulas of the α–β model against a list of all messages, and against the bytes that collectives counted."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore.reference import sharding_cost as reference
from fastcore.sharding import (
    Link,
    Mesh,
    P,
    all_gather,
    all_to_all,
    collective_bytes,
    collective_messages,
    collective_seconds,
    pmax,
    pmean,
    pmin,
    ppermute,
    psum,
    psum_scatter,
    transfer,
)
from fastcore.sharding.cost import ALGORITHMS, entry_seconds, span_seconds

LINK = Link(latency_s=3e-6, bytes_per_s=7e9, flops_per_s=2e11)
KINDS = sorted(ALGORITHMS)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=50)
@given(devices=st.integers(1, 17), size=st.integers(0, 1000))
def test_collective_formulas_equal_a_list_of_messages(kind, devices, size):
    assert collective_messages(kind, devices) == reference.collective_messages(kind, devices)
    assert collective_bytes(kind, devices, size) == reference.collective_bytes(kind, devices, size)
    expected = reference.collective_seconds(kind, devices, size, LINK)
    assert collective_seconds(kind, devices, size, LINK) == pytest.approx(expected, rel=1e-12)


def test_collective_seconds_are_those_of_the_issue():
    n, size, alpha, beta = 8, 4096, LINK.latency_s, 1 / LINK.bytes_per_s
    for kind, expected in {
        "all_gather": (n - 1) * (alpha + size * beta),
        "psum_scatter": (n - 1) * (alpha + size / n * beta),
        "psum": 2 * (n - 1) * (alpha + size / n * beta),
        "all_to_all": (n - 1) * (alpha + size / n * beta),
        "ppermute": alpha + size * beta,
        "transfer": alpha + size * beta,
    }.items():
        assert collective_seconds(kind, n, size, LINK) == pytest.approx(expected, rel=1e-14), kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_device_sends_the_same_to_within_a_byte_a_round(kind):
    for devices, size in [(2, 7), (5, 23), (8, 64)]:
        rounds = reference.collective_rounds(kind, devices, size)
        if "message" in reference.PHASES[kind]:
            continue
        sent = [sum(part for each in rounds for source, _, part in each if source == i) for i in range(devices)]
        assert sum(sent) == collective_bytes(kind, devices, size)
        assert max(abs(Fraction(sum(sent), devices) - part) for part in sent) <= len(rounds)


def call(kind, x, axis, n):
    if kind == "all_gather":
        return all_gather(x, axis)
    if kind == "psum_scatter":
        return psum_scatter(x, axis, tiled=True)
    if kind == "all_to_all":
        return all_to_all(x, axis, 0, 1, tiled=True)
    if kind == "ppermute":
        return ppermute(x, axis, [(i, (i + 1) % n) for i in range(n)])
    return {"psum": psum, "pmean": pmean, "pmax": pmax, "pmin": pmin}[kind](x, axis)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "transfer"])
@pytest.mark.parametrize("engine", ["simulated", "dry"])
@pytest.mark.parametrize("axes", [{"a": 1}, {"a": 2}, {"a": 3, "b": 2}, {"b": 2, "a": 4}, {"a": 8}, {"b": 5, "a": 5}])
def test_counted_bytes_equal_the_formula(kind, engine, axes):
    mesh = Mesh(axes, engine=engine)
    n, groups = axes["a"], mesh.size // axes["a"]
    # Without a dimension to be cut in n, sizes that n does not divide are counted exactly, too.
    rows = n if kind in ("psum_scatter", "all_to_all") else 1
    for shape in [(rows, 3), (2 * rows, 7), (rows, 0)]:
        x = mesh.zeros(shape, np.float32, P())
        mesh.reset_report()
        call(kind, x, "a", n)
        (entry,) = [entry for entry in mesh.ledger.entries if entry.kind != "compute"]
        members = n if kind == "ppermute" else 1
        expected = collective_bytes(entry.kind, n, x.nbytes_block) * members * groups
        assert entry.sent_bytes == expected
        assert mesh.report().bytes_total == expected
        assert entry.devices == n
        assert entry.entering_bytes == x.nbytes_block


def test_transfer_to_the_same_devices_costs_nothing():
    mesh = Mesh({"pp": 2, "tp": 3}, engine="dry", link=LINK)
    x = mesh.at(pp=0).zeros((5,), np.float64)
    transfer(x, mesh.at(pp=0))
    transfer(x, mesh.at(pp=1))
    here, there = mesh.ledger.entries
    assert entry_seconds(here) == 0.0
    assert entry_seconds(there) == collective_seconds("transfer", 2, 40, LINK)
    assert there.sent_bytes == 3 * collective_bytes("transfer", 2, 40)
    seconds = span_seconds(mesh.ledger.entries)
    assert (seconds.compute, seconds.communication, seconds.transfer) == (0.0, 0.0, entry_seconds(there))
    assert seconds.lower == seconds.upper == 0.0


def test_permutation_that_moves_nothing_takes_no_time():
    mesh = Mesh({"a": 4}, engine="dry")
    ppermute(mesh.zeros((3,), np.float32), "a", [(1, 1)])
    assert entry_seconds(mesh.ledger.entries[0]) == 0.0


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("psum", 0), ValueError, "devices must be at least 1. Got 0."),
        (("psum", 2.5), TypeError, "devices must be an integer. Got 2.5."),
        (("broadcast", 2), ValueError, "kind must be one of all_gather, .* Got 'broadcast'."),
        ((3, 2), TypeError, "kind must be the name of a collective. Got int."),
    ],
)
def test_collective_formulas_wrong_argument_raises(arguments, error, message):
    with pytest.raises(error, match=message):
        collective_messages(*arguments)
    with pytest.raises(error, match=message):
        collective_bytes(*arguments, 8)
    with pytest.raises(error, match=message):
        collective_seconds(*arguments, 8, LINK)


def test_collective_bytes_negative_size_raises():
    with pytest.raises(ValueError, match=r"entering_bytes must be at least 0\. Got -1\."):
        collective_bytes("psum", 2, -1)


@pytest.mark.parametrize(
    "link, error, message",
    [
        ((1e-6, 1e9, 1e9), TypeError, r"link must be a Link\(latency_s, bytes_per_s, flops_per_s\). Got tuple."),
        (Link(latency_s=-1.0), ValueError, "latency_s of the link must be seconds, finite and not negative. Got -1.0."),
        (Link(latency_s=math.nan), ValueError, "latency_s .* Got nan."),
        (Link(bytes_per_s=0), ValueError, "bytes_per_s of the link must be above 0. Got 0."),
        (Link(flops_per_s=math.nan), ValueError, "flops_per_s of the link must be above 0. Got nan."),
        (Link(flops_per_s="fast"), TypeError, "flops_per_s of the link must be a number. Got str."),
    ],
)
def test_mesh_wrong_link_raises(link, error, message):
    with pytest.raises(error, match=message):
        Mesh({"a": 2}, link=link)
