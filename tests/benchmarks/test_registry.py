import numpy as np
import pytest

from benchmarks import registry, session
from benchmarks.cases import attention

# Small enough to be made, computed in float64 and compared within a second.
CHEAP = ["attention/tiny", "attention/encoder/f32/B8-H12-L128-D32", "attention/prefill/f32/B1-H8-L512-D64"]


def test_registry_is_well_formed():
    for case in registry.all_cases():
        assert case.flops > 0
        assert case.bytes_moved > 0
        assert 0 < case.tolerance < (2e-2 if case.dtype == "bfloat16" else 1e-3)
        assert case.name.split("/")[0] in registry.DOMAINS
        assert set(case.factories()) >= {registry.OURS, registry.NUMPY}
        assert all(isinstance(size, int) and size > 0 for size in case.sizes.values())


@pytest.mark.parametrize("kind", ["prefill", "encoder", "grouped", "decode", "tiny"])
def test_quick_selection_has_each_kind_of_attention(kind):
    assert registry.select(f"attention/{kind}/", quick=True)


def test_quick_selection_has_caches_in_at_most_three_cases():
    """It has to end within two and a half minutes."""
    assert 1 <= len(registry.select("kvcache/", quick=True)) <= 3


@pytest.mark.parametrize("name", CHEAP)
def test_input_is_seeded_and_naive_side_is_right(name):
    case = registry.select(name)[0]
    first, second = case.make(), case.make()
    np.testing.assert_array_equal(first.query, second.query)
    assert session.error_of(case.check(first), case.naive(first)) <= case.tolerance


def test_grouped_naive_side_is_right():
    case = attention.case(attention.Problem(2, 4, 24, 8, G=2, causal=True))
    data = case.make()
    assert session.error_of(case.check(data), case.naive(data)) <= case.tolerance


def test_check_of_a_part_sees_what_the_check_of_all_sees(monkeypatch):
    case = attention.case(attention.Problem(1, 2, 64, 8, causal=True))
    data = case.make()
    monkeypatch.setattr(attention, "CHECKED_PAIRS", 0)
    check = case.check(data)
    assert check.expected.shape == (1, 1, 3 * attention.CHECKED_ROWS, 8)
    assert session.error_of(check, case.naive(data)) <= case.tolerance


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_flops_count_only_pairs_that_take_part(causal, ragged):
    problem = attention.Problem(3, 2, 10, 4, causal=causal, ragged=ragged)
    lengths = problem.key_lengths if ragged else [10] * 3
    pairs = sum(not causal or j <= i for length in lengths for i in range(10) for j in range(length))
    assert attention.case(problem).flops == 4 * 4 * 2 * pairs


def test_select_by_pattern_and_quickness(make_case):
    cases = [make_case("a/1"), make_case("a/2", quick=False), make_case("b/1")]
    assert [case.name for case in registry.select("^a", cases=cases)] == ["a/1", "a/2"]
    assert [case.name for case in registry.select(None, quick=True, cases=cases)] == ["a/1", "b/1"]


@pytest.mark.parametrize("pattern, message", [("(", "regular expression"), ("nothing", "No case matches 'nothing'")])
def test_select_explains_a_bad_filter(make_case, pattern, message):
    with pytest.raises(ValueError, match=message):
        registry.select(pattern, cases=[make_case()])


@pytest.mark.parametrize(
    "wanted, chosen",
    [(None, ["torch", "jax"]), ("all", ["torch", "jax"]), ("none", []), ("jax , torch", ["torch", "jax"])],
)
def test_select_peers(wanted, chosen):
    assert registry.select_peers(wanted, ["torch", "jax"]) == chosen


def test_select_peers_names_the_unknown():
    with pytest.raises(ValueError, match="names out of torch; got tensorflow in 'tensorflow'"):
        registry.select_peers("tensorflow", ["torch"])
