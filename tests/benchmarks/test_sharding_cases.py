"""The cases of `fastcore.sharding` on few numbers: what they time, and what judges it, is right."""

import pytest

from benchmarks import session
from benchmarks.cases import sharding

STEP = sharding.Step(2, 4, 2, 4, layers=4, tokens=16, embed_dim=32, num_heads=4, hidden_dim=64)
SMALL = [
    sharding.product_case(1, 40, "float32"),
    sharding.product_case(8, 40, "float32"),
    sharding.product_case(8, 40, "float64"),
    sharding.psum_case(64, 10),
    sharding.Ring(2, 64, 16, 8).case(),
    sharding.Ring(2, 64, 16, 8, causal=True).case(),
    STEP.case(),
]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_all_sides_agree(case):
    sides, entries = session.prepare(case, case.make(), list(case.peers))
    assert set(sides) == set(case.factories()), entries


def test_quick_selection_has_two_cases():
    """More would take the time of others."""
    assert len([case for case in sharding.cases() if case.quick]) == 2
