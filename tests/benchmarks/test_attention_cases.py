"""Gradients of attention, packed sequences, masks, bfloat16, linear attention on few tokens: what is timed is right."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks import registry, session
from benchmarks.cases import attention, attention_backward, attention_linear, attention_scores

FEW = {"varlen": {"L": 150, "N": 4}, "block_sparse": {"L": 640}, "alibi": {"L": 90}, "score_mod": {"L": 90}}
SMALL = {
    **{
        each.name: partial(attention_backward.case, replace(each, L=70, H=2))
        for each in attention_backward.problems()
        if each.D == 64
    },
    **{
        each.name: partial(attention_scores.case, replace(each, H=2, D=16, **FEW[each.kind]))
        for each in attention_scores.problems()
    },
    **{
        f"linear causal={causal}": partial(
            attention_linear.case, attention.Problem(1, 2, 256, 16, causal=causal, kind="linear")
        )
        for causal in (False, True)
    },
    **{
        f"bfloat16 causal={causal}": partial(
            attention.case, attention.Problem(1, 2, 70, 64, causal=causal, dtype="bfloat16")
        )
        for causal in (False, True)
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_ours_and_naive_sides_are_right(name):
    case = SMALL[name]()
    sides, entries = session.prepare(case, case.make(), [])
    assert set(sides) == {registry.OURS, registry.NUMPY}, entries


@pytest.mark.peer
@pytest.mark.parametrize("name", SMALL)
def test_peers_are_right(name):
    case = SMALL[name]()
    _, entries = session.prepare(case, case.make(), list(case.peers))
    assert not {side: entry for side, entry in entries.items() if "failed" in entry}


@pytest.mark.parametrize("name", [name for name in SMALL if "training" in name or "varlen" in name or "linear" in name])
def test_a_wrong_last_row_is_told(name):
    case = SMALL[name]()
    data = case.make()
    check, side = case.check(data), case.naive(data)
    wrong = np.array(side.collect(side.call()))
    expected = check.select(np.arange(wrong.size, dtype=np.float64).reshape(wrong.shape))
    wrong.reshape(-1)[int(expected.reshape(-1)[-1])] += 1.0
    assert session.error_of(check, registry.Side(lambda: wrong, np.asarray)) > case.tolerance


def test_packed_sequences_and_block_masks_are_what_their_names_say():
    varlen, sparse = attention_scores.Problem("varlen", 2048, N=64), attention_scores.Problem("block_sparse", 4096)
    assert (varlen.lengths.min(), varlen.lengths.max(), len(varlen.lengths)) == (16, 2048, 64)
    mask = attention_scores.make(sparse).block_mask
    assert mask.shape == (64, 64)
    assert 0.89 < 1 - mask.mean() < 0.91


@pytest.mark.parametrize("kind", attention_scores.AGAINST_OURS)
def test_what_our_own_kernel_is_held_against_is_another_call(kind):
    case = SMALL[next(each.name for each in attention_scores.problems() if each.kind == kind)]()
    data = case.make()
    (side,) = case.bound(data)
    assert np.shape(side.call()) == data.query.shape
