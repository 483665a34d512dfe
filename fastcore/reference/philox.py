"""Philox4x32-10, the counter-based generator behind attention dropout, and the dropout mask made from it.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3. Random bits are a pure function
of (seed, row, key, head), so the mask is the same whatever the order or the number of threads.
"""

import numpy as np

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)
ROUNDS = 10


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds of Philox on 32-bit words.

    Parameters
    ----------
    counter : (..., 4) integers below 2**32
    key : two integers below 2**32

    Returns
    -------
    (..., 4) uint32
    """
    # 32-bit words live in uint64, so that the 32 x 32 -> 64 bit products are exact.
    c0, c1, c2, c3 = (np.asarray(counter)[..., word].astype(np.uint64) for word in range(4))
    k0, k1 = (np.uint64(word) for word in key)
    for _ in range(ROUNDS):
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> WORD_BITS) ^ c1 ^ k0,
            product1 & LOW_WORD,
            (product0 >> WORD_BITS) ^ c3 ^ k1,
            product0 & LOW_WORD,
        )
        k0, k1 = (k0 + WEYL_STEPS[0]) & LOW_WORD, (k1 + WEYL_STEPS[1]) & LOW_WORD
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def dropout_mask(batch: int, heads: int, queries: int, keys: int, dropout_p: float, seed: int = 0) -> np.ndarray:
    """Which attention weights dropout keeps: (B, H, L, S) bool, True = kept.

    Row i of head h of batch b draws, for keys 4n .. 4n + 3, the four words of the counter (n, i, b * H + h, 0); a
    weight is kept when its word is at least floor(dropout_p * 2**32).
    """
    blocks = -(-keys // 4)
    counter = np.zeros((batch * heads, queries, blocks, 4), np.uint64)
    counter[..., 0] = np.arange(blocks)
    counter[..., 1] = np.arange(queries)[:, None]
    counter[..., 2] = np.arange(batch * heads)[:, None, None]
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    words = words.reshape(batch, heads, queries, 4 * blocks)[..., :keys]
    return words >= np.uint64(int(dropout_p * 2**32))
