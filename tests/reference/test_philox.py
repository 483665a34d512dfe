"""Philox4x32-10 against the known answers of Random123, and the dropout mask built on it."""

import numpy as np
import pytest

from fastcore import reference

# Known answers for philox4x32, 10 rounds: kat_vectors of the Random123 distribution (counter, key, words).
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, words", KNOWN_ANSWERS)
def test_philox4x32_known_counters_give_known_words(counter, key, words):
    np.testing.assert_array_equal(reference.philox4x32(np.array(counter, np.uint64), key), np.array(words, np.uint32))


def test_philox4x32_many_counters_equal_single_ones():
    counters = np.random.default_rng(1).integers(0, 2**32, (3, 5, 4), np.uint64)
    words = reference.philox4x32(counters, (7, 9))
    assert words.shape == (3, 5, 4)
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words[2, 4], reference.philox4x32(counters[2, 4], (7, 9)))


def test_dropout_mask_follows_its_definition_word_by_word():
    seed, dropout_p = (5 << 32) + 11, 0.25
    mask = reference.dropout_mask(2, 3, 4, 7, dropout_p, seed)
    for b, h, i, j in [(0, 0, 0, 0), (1, 2, 3, 6), (1, 0, 2, 3), (0, 2, 1, 4)]:
        words = reference.philox4x32(np.array([j // 4, i, b * 3 + h, 0], np.uint64), (11, 5))
        assert mask[b, h, i, j] == (int(words[j % 4]) >= int(dropout_p * 2**32))


def test_dropout_mask_keeps_the_expected_share():
    mask = reference.dropout_mask(2, 4, 100, 125, 0.3, seed=3)
    # 100,000 draws: the share's standard deviation is 0.0014.
    assert abs(mask.mean() - 0.7) < 0.007
    assert reference.dropout_mask(1, 1, 8, 8, 0.0).all()
    assert reference.dropout_mask(1, 2, 0, 5, 0.5).shape == (1, 2, 0, 5)
