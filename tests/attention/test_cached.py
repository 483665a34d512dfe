"""Attention over stored rows against the twin in float64 on the rows as they read back: shapes, pages, windows."""

import itertools

import numpy as np
import pytest

from tests.attention.cached_case import FORMATS, Sequences, normal


@pytest.fixture(params=FORMATS)
def dtype(request):
    """Each storage format."""
    return request.param


# Sizes of a key and of a value.
SIZES = [
    (1, 7), (7, 1), (17, 64), (64, 17), (64, 64), (80, 96), (96, 80), (100, 33), (128, 128), (128, 256), (256, 100),
    (512, 16), (513, 16), (576, 512),
]  # fmt: skip
# Around vectors of keys, blocks of 64, 128 and 256, and shares of 256.
BORDERS = [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 320, 511, 512, 513]
# Query heads of a key/value head.
GROUPS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 32]


@pytest.mark.parametrize("size, value_size", SIZES)
def test_cached_attention_of_every_size_is_within_twice_the_plain_error(dtype, size, value_size, rng):
    case = Sequences(rng, dtype, [70, 9, 300], 2, size, value_size)
    for group, new in ((1, 1), (2, 1), (3, 3), (8, 1), (2, 9)):
        case.check_all(normal(rng, 3, 2 * group, new, size))


@pytest.mark.parametrize("group", GROUPS)
def test_cached_attention_of_every_number_of_heads_and_new_tokens(dtype, group, rng):
    case = Sequences(rng, dtype, [130, 67], 2, 24, 20)
    for new in (1, 2, 3, 5, 8, 15, 16, 17, 40, 64):
        case.check_all(normal(rng, 2, 2 * group, new, 24))


@pytest.mark.parametrize("new", [1, 3])
def test_cached_attention_of_lengths_around_blocks_and_shares(dtype, new, rng):
    case = Sequences(rng, dtype, [n for n in BORDERS if n >= new] + [4097], 1, 32)
    case.check_all(normal(rng, len(case.tables), 3, new, 32))


@pytest.mark.parametrize("new", [1, 5, 40, 100])
@pytest.mark.parametrize("options", [{"softcap": 1.5}, {"is_causal": False}, {"scale": -0.7}, {"scale": 0.0}])
def test_cached_attention_options(dtype, new, options, rng):
    case = Sequences(rng, dtype, [new, new + 1, 330], 2, 40, 24)
    query = normal(rng, 3, 4, new, 40)
    case.check_all(query, **options)
    case.check_all(query, **{"softcap": 0.8, "is_causal": False} | options)


@pytest.mark.parametrize("page_size", [1, 3, 16, 64, 1000])
@pytest.mark.parametrize("new", [1, 4, 30])
def test_cached_attention_pages_of_any_size_and_order_have_the_same_bits(dtype, page_size, new, rng):
    keys, values = ([normal(rng, 2, n, size) for n in (30, 64, 200, 401)] for size in (40, 24))
    lengths = [key.shape[1] for key in keys]
    one = Sequences(rng, dtype, lengths, 2, 40, 24, 401, keys=keys, values=values)
    other = Sequences(rng, dtype, lengths, 2, 40, 24, page_size, keys=keys, values=values)
    query = normal(rng, 4, 4, new, 40)
    np.testing.assert_array_equal(other.check_all(query), one.attend(query))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_cached_attention_of_one_head_takes_pages_in_their_order(order, rng):
    """Its float32 pages may lie side by side and are then read in place, but not only because the outer ones do."""
    case = Sequences(rng, "float32", [64], 1, 16, page_size=16)
    for pages in (order, [3 * page for page in order]):
        moved = Sequences(rng, "float32", [192], 1, 16, page_size=16)  # room for other pages, with rows in them
        for source, target in zip(case.tables[0], pages, strict=True):
            for name, array in case.storage.arrays.items():
                moved.storage.arrays[name][target] = array[source]
        moved.tables, moved.lengths = [np.array(pages)], case.lengths
        query = normal(rng, 1, 1, 40, 16)
        np.testing.assert_array_equal(moved.attend(query), case.check_all(query))


@pytest.mark.parametrize("page_size", [1, 3, 1000])
@pytest.mark.parametrize("window, sinks, slack", [(1, 0, 0), (1, 1, 0), (5, 0, 4), (5, 2, 4), (4, 5, 3), (9, 3, 16)])
def test_cached_attention_window_and_ring_at_all_alignments(dtype, window, sinks, slack, page_size, rng):
    """Against a mask over all tokens there ever were."""
    case = Sequences(rng, dtype, range(1, 41), 1, 16, 8, page_size, window, sinks, slack)
    for new in {1, 2, min(3, slack + 1), slack + 1}:
        if new > slack + 1:
            continue
        check_counts(case, rng, np.minimum(case.lengths, new))


@pytest.mark.parametrize("new", [1, 2, 7, 33, 61])
@pytest.mark.parametrize("window, sinks", [(70, 0), (70, 3), (64, 64), (300, 4), (3, 130)])
def test_cached_attention_window_beyond_a_block(dtype, window, sinks, new, rng):
    case = Sequences(rng, dtype, [*range(61, 460, 37), 64, 128, 192, 448], 1, 16, 8, 64, window, sinks, 60)
    check_counts(case, rng, np.minimum(case.lengths, new))
    check_counts(case, rng, np.minimum(case.lengths, new), is_causal=False, softcap=2.0)


def check_counts(case, rng, counts, group=2, **options):
    """All sequences at once, each with its own number of new tokens, packed in one array."""
    firsts = np.cumsum(counts) - counts
    query = normal(rng, 1, group * case.heads, counts.sum(), case.size)
    got = case.attend(query, firsts=firsts, counts=counts, **options)
    assert not np.isnan(got).any()
    for number, (first, count) in enumerate(zip(firsts, counts, strict=True)):
        tokens = np.s_[0, :, first : first + count]
        case.check(number, got[tokens], query[tokens], **options)
    return query, got


def test_cached_attention_of_a_ring_at_positions_beyond_32_bits(dtype, rng):
    """Only slots are small: what counts are the sinks and the last rows."""
    window, sinks, rows, length = 70, 3, 75, 2**40 + 11
    keys, values = normal(rng, 1, sinks + rows, 32), normal(rng, 1, sinks + rows, 32)
    case = Sequences(rng, dtype, [sinks + rows], 1, 32, 32, 1000, window, sinks, 5, [keys], [values])
    query = normal(rng, 1, 2, 5, 32)
    short = case.check_all(query)
    case.storage.write([case.tables[0]], [length - rows], [keys[:, sinks:]], [values[:, sinks:]], (sinks, rows))
    case.lengths = np.array([length])
    np.testing.assert_allclose(case.attend(query), short, rtol=0, atol=1e-5)


def test_cached_attention_counts_of_zero_are_passed_over(dtype, rng):
    """Also of sequences without any token; what is no new token's is not written."""
    case = Sequences(rng, dtype, [0, 70, 0, 9, 5, 0], 2, 16)
    check_counts(case, rng, np.array([0, 40, 0, 0, 5, 0]))
    query = normal(rng, 6, 4, 3, 16)
    counts = np.array([0, 2, 0, 0, 3, 0])
    got = case.attend(query, firsts=np.zeros(6, np.int64), counts=counts)
    for number, count in enumerate(counts):
        case.check(number, got[number, :, :count], query[number, :, :count])
        assert np.isnan(got[number, :, count:]).all()
    nothing = case.attend(query, firsts=np.zeros(6, np.int64), counts=np.zeros(6, np.int64))
    assert np.isnan(nothing).all()
    assert case.attend(query[:, :, :0]).size == 0


def test_cached_attention_apart_leaves_each_result_by_itself(dtype, rng):
    case = Sequences(rng, dtype, [50, 70, 9, 130], 2, 24, 20)
    counts = np.array([1, 40, 0, 3])
    query, packed = check_counts(case, rng, counts)
    heads, firsts = query.shape[1], np.cumsum(counts) - counts
    out = np.full((1, 1, 1, heads * counts.sum() * 20), np.nan, np.float32)
    places = {"firsts": firsts, "counts": counts, "apart": True}
    case.reader.attend(case.addresses(), case.lengths, query, out, case.scale, 0.0, True, **places)
    for first, count in zip(firsts, counts, strict=True):
        part = out[0, 0, 0, first * heads * 20 : (first + count) * heads * 20].reshape(heads, count, 20)
        np.testing.assert_array_equal(part, packed[0, :, first : first + count])


def test_cached_attention_reads_and_writes_strided_arrays(dtype, rng):
    case = Sequences(rng, dtype, [50, 70], 2, 17, 20)
    for new in (1, 3, 33):
        query = normal(rng, 2, 4, new, 17)
        want = case.attend(query)
        turned = normal(rng, new, 2, 4, 40).transpose(1, 2, 0, 3)[:, ::-1, ::-1, 5:22]
        turned[...] = query
        out = np.full((new + 1, 4, 2, 33), 7.0, np.float32)
        target = out.transpose(2, 1, 0, 3)[:, :, 1:, 3:23]
        case.reader.attend(case.addresses(), case.lengths, turned, target, case.scale, 0.0, True)
        np.testing.assert_array_equal(target, want)
        target[...] = 7.0
        assert (out == 7.0).all()


@pytest.mark.parametrize("new", [1, 3, 20])
def test_cached_attention_of_equal_scores_is_the_mean_of_what_is_seen(dtype, new, rng):
    zeros = [np.zeros((1, n, 16), np.float32) for n in (40, 300)]
    case = Sequences(rng, dtype, [40, 300], 1, 16, keys=zeros)
    case.check_all(normal(rng, 2, 2, new, 16))
    case.check_all(np.zeros((2, 2, new, 16), np.float32))
