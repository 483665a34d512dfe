"""Rotary position embedding against its twin, against mpmath, and against the properties it is made for."""

import copy
import dataclasses
import json
import pickle
import threading

import ml_dtypes
import mpmath
import numpy as np
import pytest

from fastcore import reference
from fastcore.kvcache import rotary as module
from fastcore.kvcache.rotary import Rotary, rotary_embedding

LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 512,
}
YARN = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 512}
DEEPSEEK = YARN | {"mscale": 0.7, "mscale_all_dim": 1.3, "beta_fast": 20, "beta_slow": 2, "truncate": False}
SCALINGS = {
    "none": None,
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "factor": 2.5,
    "linear": LINEAR,
    "older form": {"type": "linear", "factor": 2},
    "llama3": LLAMA3,
    "yarn": YARN,
    "yarn with attention_factor": YARN | {"attention_factor": 1.25},
    "yarn as DeepSeek": DEEPSEEK,
}
# Rows below, at and above a vector and half of one; two axes to five; the fourth is shared by threads.
SHAPES = [(1, 2), (5, 6), (3, 4, 34), (2, 9, 700, 64), (2, 3, 5, 128), (2, 1, 3, 2, 16), (1, 2, 3, 20000)]


def positions_for(shape):
    return 3 * np.arange(shape[-2]) + 7


def judge(got, want, dtype=np.float32):
    """float32 rounds cos, sin, two products and a sum; float64 angles of some 2000 are off by 2e-13."""
    largest = np.abs(want).max(initial=0)
    np.testing.assert_allclose(got, want, rtol=0, atol=largest * (4e-7 if dtype == np.float32 else 2e-12))


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_rotary_any_shape_matches_the_twin_in_float64(rng, shape, dtype, interleaved):
    x = rng.normal(size=shape).astype(dtype)
    got = rotary_embedding(x, positions_for(shape), interleaved=interleaved)
    assert got.dtype == dtype
    want = reference.rotary_embedding(x.astype(float), positions_for(shape), interleaved=interleaved)
    judge(got, want, dtype)


@pytest.mark.parametrize("rotary_dim", [None, 2, 24, 40])
@pytest.mark.parametrize("base", [10000.0, 500000, np.float32(1000.0)])
@pytest.mark.parametrize("scaling", [kind for kind in SCALINGS if kind != "default"])
@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_options_match_the_twin_in_float64(rng, interleaved, scaling, base, rotary_dim):
    x = rng.normal(size=(2, 3, 50, 40)).astype(np.float32)
    positions = rng.integers(0, 2000, (2, 50))
    options = {"base": base, "interleaved": interleaved, "scaling": SCALINGS[scaling], "rotary_dim": rotary_dim}
    want = reference.rotary_embedding(x.astype(float), positions, **options)
    judge(rotary_embedding(x, positions, **options), want)
    judge(rotary_embedding(x.astype(float), positions, **options), want, np.float64)
    if rotary_dim is not None:
        np.testing.assert_array_equal(rotary_embedding(x, positions, **options)[..., rotary_dim:], x[..., rotary_dim:])


def test_rotary_default_scaling_is_none(rng):
    x = rng.normal(size=(2, 5, 8)).astype(np.float32)
    got = rotary_embedding(x, range(5), scaling=SCALINGS["default"])
    np.testing.assert_array_equal(got, rotary_embedding(x, range(5)))


@pytest.mark.parametrize("position", [3, 131_071, 131_072, 10_000_019, -1_000_003, 12345.678, 2**53 - 1])
@pytest.mark.parametrize("dtype, bound", [(np.float32, 6e-8), (np.float64, 2e-16)])
def test_rotary_angles_are_exact_at_large_positions(position, dtype, bound):
    """cos and sin against mpmath; an angle in float64 is off by 3 roundings of it, in float32 1e7 would be off by 1."""
    size = 16
    x = np.zeros((1, size), dtype)
    x[:, : size // 2] = 1
    cos, sin = rotary_embedding(x, [position]).reshape(2, -1)
    with mpmath.workdps(60):
        angles = [mpmath.mpf(position) * mpmath.mpf(10000) ** (mpmath.mpf(-2 * i) / size) for i in range(size // 2)]
        wanted = [(float(mpmath.cos(a)), float(mpmath.sin(a)), abs(float(a))) for a in angles]
    for i, (want_cos, want_sin, angle) in enumerate(wanted):
        assert abs(cos[i] - want_cos) <= bound + 3 * 2.0**-53 * angle
        assert abs(sin[i] - want_sin) <= bound + 3 * 2.0**-53 * angle


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_products_depend_on_the_distance_only(rng, interleaved):
    """Su et al. 2021, eq. 16; and lengths stay."""
    query, key = rng.normal(size=(2, 1, 32))
    products = []
    for shift in (0, 1, 500, 70_000):
        a = rotary_embedding(query, [11 + shift], interleaved=interleaved)
        b = rotary_embedding(key, [4 + shift], interleaved=interleaved)
        products.append((a * b).sum())
        assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(query), rel=1e-14)
    np.testing.assert_allclose(products, products[0], rtol=0, atol=1e-9)


def test_rotary_layouts_are_permutations_of_each_other(rng):
    x = rng.normal(size=(2, 4, 6, 48)).astype(np.float32)
    order = np.arange(48).reshape(2, 24).T.reshape(-1)  # i, i + 24 side by side
    halves = rotary_embedding(x, range(6))
    np.testing.assert_array_equal(rotary_embedding(x[..., order], range(6), interleaved=True), halves[..., order])


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_position_zero_changes_nothing_and_negative_turns_back(rng, interleaved):
    x = rng.normal(size=(3, 5, 10))
    np.testing.assert_array_equal(rotary_embedding(x, 0, interleaved=interleaved), x)
    there = rotary_embedding(x, range(1, 6), interleaved=interleaved)
    back = rotary_embedding(there, -np.arange(1, 6), interleaved=interleaved)
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-15 * 10)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_nan_and_inf_stay_in_their_pair(rng, interleaved):
    x = rng.normal(size=(1, 2, 3, 64)).astype(np.float32)
    clean = rotary_embedding(x, range(3), interleaved=interleaved)
    x[0, 1, 2, 2], x[0, 0, 1, 5] = np.nan, np.inf
    got = rotary_embedding(x, range(3), interleaved=interleaved)
    touched = np.zeros(x.shape, bool)
    touched[0, 1, 2, [2, 3 if interleaved else 34]] = True
    touched[0, 0, 1, [5, 4 if interleaved else 37]] = True
    assert not np.isfinite(got[touched]).any()
    np.testing.assert_array_equal(got[~touched], clean[~touched])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_rotary_half_precision_is_rounded_once(rng, dtype, interleaved):
    x = rng.normal(size=(2, 3, 4, 20)).astype(dtype)
    got = rotary_embedding(x, range(9, 13), interleaved=interleaved)
    assert got.dtype == dtype
    want = rotary_embedding(x.astype(np.float32), range(9, 13), interleaved=interleaved).astype(dtype)
    np.testing.assert_array_equal(got, want)


# --- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "positions",
    [
        np.array([4, 5, 6], np.uint8),
        np.array([4, 5, 6], ">i4"),
        np.array([4, 5, 6], np.uint64),
        np.arange(8)[4:7],
        np.arange(14)[8::2] // 2,
        [4, 5, 6],
        range(4, 7),
        np.array([[4, 5, 6]]),
        np.array([[4, 5, 6], [4, 5, 6]]),
        np.broadcast_to([4, 5, 6], (2, 3)),
    ],
    ids=str,
)
def test_rotary_positions_of_any_kind(rng, positions):
    x = rng.normal(size=(2, 2, 3, 8)).astype(np.float32)
    np.testing.assert_array_equal(rotary_embedding(x, positions), rotary_embedding(x, np.array([4, 5, 6])))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_rotary_whole_real_positions_are_those_integers(rng, kind):
    x = rng.normal(size=(2, 3, 8)).astype(np.float32)
    got = rotary_embedding(x, np.array([0, 5, 250], kind))
    np.testing.assert_allclose(got, rotary_embedding(x, [0, 5, 250]), rtol=0, atol=2e-7)


def test_rotary_positions_a_sequence(rng):
    x = rng.normal(size=(3, 2, 4, 8))
    positions = rng.integers(0, 1000, (3, 4))
    got = rotary_embedding(x, positions)
    for b in range(3):
        np.testing.assert_array_equal(got[b], rotary_embedding(x[b], positions[b]))
    np.testing.assert_array_equal(
        rotary_embedding(x, positions[:, :1])[2, :, 3], rotary_embedding(x[2], positions[2, 0])[:, 3]
    )
    np.testing.assert_array_equal(rotary_embedding(x[:, :, 1:2], positions[:, 1:2]), got[:, :, 1:2])


def test_rotary_positions_of_more_batch_axes(rng):
    x = rng.normal(size=(2, 3, 4, 5, 6))
    positions = rng.integers(0, 99, (2, 3, 5))
    got = rotary_embedding(x, positions)
    np.testing.assert_array_equal(got[1, 2], rotary_embedding(x[1, 2], positions[1, 2]))
    np.testing.assert_array_equal(
        rotary_embedding(x, positions[:1, :, :1])[1, 2], rotary_embedding(x[1, 2], positions[0, 2, 0])
    )


def test_rotary_positions_beyond_int64_are_rounded(rng):
    x = rng.normal(size=(1, 8))
    got = rotary_embedding(x, np.array([2**64 - 1], np.uint64))
    np.testing.assert_array_equal(got, rotary_embedding(x, [2.0**64]))


def test_rotary_angles_beyond_float64_are_nan(rng):
    x = rng.normal(size=(1, 2))
    assert np.isnan(rotary_embedding(x, [1e308], scaling=1e-3)).all()
    assert np.isnan(rotary_embedding(x, [1], scaling=1e-310)).all()


def test_rotary_unaligned_positions(rng):
    x = rng.normal(size=(1, 2, 3, 8)).astype(np.float32)
    positions = np.frombuffer(b"\0" + np.array([4, 5, 6]).tobytes(), np.int64, 3, 1)
    np.testing.assert_array_equal(rotary_embedding(x, positions), rotary_embedding(x, [4, 5, 6]))


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_table_and_computed_positions_agree(rng, interleaved):
    """The last position of the largest table, and the same as a real number, which is computed."""
    x = rng.normal(size=(1, 1, 1, 4)).astype(np.float32)
    last = module.LARGEST_TABLE - 1
    got = [rotary_embedding(x, np.array([p]), interleaved=interleaved) for p in (last, float(last), last, last + 1)]
    np.testing.assert_allclose(got[0], got[1], rtol=0, atol=2e-7)
    np.testing.assert_array_equal(got[0], got[2])
    want = reference.rotary_embedding(x.astype(float), [last + 1], interleaved=interleaved)
    judge(got[3], want)


# --- the object -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
def test_rotary_object_goes_through_pickle_copy_and_json(rng, scaling):
    rotary = Rotary(10000.0, True, scaling, 4)
    x = rng.normal(size=(1, 2, 3, 8)).astype(np.float32)
    options = {"interleaved": True, "scaling": scaling, "rotary_dim": 4}
    want = rotary_embedding(x, np.arange(3), **options)
    through_json = Rotary(**json.loads(json.dumps(dataclasses.asdict(rotary))))
    for other in (rotary, pickle.loads(pickle.dumps(rotary)), copy.deepcopy(rotary), copy.copy(rotary), through_json):
        assert other == rotary
        assert hash(other) == hash(rotary)
        np.testing.assert_array_equal(other.rotate(x, np.arange(3)), want)


def test_rotary_object_equal_options_are_equal():
    assert Rotary(10000) == Rotary(10000.0, np.False_, {"type": "default"})
    assert Rotary(scaling=2) == Rotary(scaling={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})
    assert Rotary(scaling=YARN) != Rotary(scaling=YARN | {"beta_slow": 2})
    assert repr(Rotary(scaling=2)).startswith("Rotary(base=10000.0, interleaved=False, scaling=(('factor', 2.0)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Rotary().base = 1.0


def test_rotary_object_does_not_follow_the_dict_it_was_made_from(rng):
    options = dict(LINEAR)
    rotary = Rotary(scaling=options)
    options["factor"] = 100.0
    x = rng.normal(size=(1, 8))
    np.testing.assert_array_equal(rotary.rotate(x, [5]), rotary_embedding(x, [5], scaling=LINEAR))


def test_rotary_table_grows_and_keeps_its_rows(rng):
    rotary = Rotary()
    x = rng.normal(size=(1, 1, 1, 8)).astype(np.float32)
    first = rotary.rotate(x, np.array([200]))
    lengths = []
    for position in (0, 255, 256, 1000, 3):
        rotary.rotate(x, np.array([position]))
        lengths.append(len(rotary._tables.float32[8]))
    assert lengths == [256, 256, 512, 1024, 1024]
    rotary.rotate(x, np.array([module.LARGEST_TABLE]))
    assert len(rotary._tables.float32[8]) == 1024
    np.testing.assert_array_equal(rotary.rotate(x, np.array([200])), first)


def test_rotary_object_from_16_threads(rng):
    """All grow the tables at once, each in another order."""
    x = rng.normal(size=(1, 2, 1, 64)).astype(np.float32)
    positions = [np.array([p]) for p in (5, 300, 700, 1500, 3000, 6000)]
    want = [Rotary().rotate(x, p) for p in positions]
    shared, faults = Rotary(), []
    start = threading.Barrier(16)

    def work(seed):
        start.wait()
        for i in np.random.default_rng(seed).permutation(60) % len(positions):
            if not np.array_equal(shared.rotate(x, positions[i]), want[i]):
                faults.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
