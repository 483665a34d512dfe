"""The SIMD generator against its twin and against Random123's known answers.

The bodies of dropout run on other CPUs and without the compiler in tests/nn/test_regularization.py.
"""

import numpy as np
import pytest

from fastcore import reference
from fastcore._core import philox, simd
from fastcore._core.jit import kernel


@kernel
def words_of(counter, seed, out):
    simd.store(simd.pointer(out), philox.successive_words(counter, seed))


@pytest.mark.parametrize("seed", [0, 1, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1])
@pytest.mark.parametrize("counter", [0, 3, (1 << 32) - 2, (1 << 61) - 8])
def test_successive_words_are_those_of_the_twin(counter, seed):
    out = np.empty(philox.WORDS, np.uint32)
    words_of(counter, np.uint64(seed), out)
    counters = np.zeros((philox.COUNTERS, 4), np.uint64)
    for i in range(philox.COUNTERS):
        counters[i, 0], counters[i, 1] = (counter + i) % 2**32, (counter + i) >> 32
    want = reference.philox4x32(counters, (seed % 2**32, seed >> 32))
    np.testing.assert_array_equal(out, want.ravel())


def test_first_word_of_a_zero_key_is_the_known_answer():
    out = np.empty(philox.WORDS, np.uint32)
    words_of(0, np.uint64(0), out)
    assert out[:4].tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]  # kat_vectors of Random123
