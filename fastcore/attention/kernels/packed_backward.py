"""Gradients of attention over packed sequences: the items of `backward`, by actual size, long sequences first."""

import numpy as np

from fastcore.attention.kernels import backward as B
from fastcore.attention.kernels import options as F
from fastcore.attention.kernels.forward import NS_PER_FMA_BYTE


def list_chunks(rows, keys, counts, groups):
    """Numbers of the items: a sequence, a key/value head and one of the sequence's ``counts`` chunks of keys each."""
    order = np.argsort(-rows * keys, kind="stable")
    order = order[rows[order] * keys[order] > 0]
    sequences = np.repeat(order, counts[order])
    firsts = np.cumsum(counts[order]) - counts[order]
    chunks = np.arange(sequences.size) - np.repeat(firsts, counts[order])
    return ((chunks * rows.size + sequences)[:, None] * groups + np.arange(groups)).ravel()


def packed_backward(
    query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, query_starts, key_starts, query_offset,
    left, right, scale, softcap, dropout_p, seed, changes, score_mod_grad,
):  # fmt: skip
    """`flash_backward` of packed sequences.

    query, grad_query (1, H, total_q, D), key, grad_key (1, G, total_k, D), value, grad_value (1, G, total_k, Dv), out,
    grad_out (1, H, total_q, Dv), lse (1, H, total_q); starts (B + 1,), query_offset (B,) or None: C-contiguous int64.
    All else as there.
    """
    rows, keys = np.diff(query_starts), np.diff(key_starts)
    chunks, counts = B.chunks_of(key.shape[1], keys)
    items = list_chunks(rows, keys, counts, key.shape[1])
    options = np.zeros(B.OPTIONS, np.int64)
    options[: F.OPTIONS] = F.options_of(left, right, None, None, query_offset, None, seed, None, changes)
    options[F.QUERY_STARTS], options[F.KEY_STARTS] = query_starts.ctypes.data, key_starts.ctypes.data
    options[F.ITEMS], options[F.ITEM_COUNT], options[F.LONGEST] = items.ctypes.data, items.size, rows.max()
    options[B.SEQUENCES], options[B.CHUNKS_OF] = rows.size, chunks.ctypes.data
    options[B.CHUNK], options[B.CHUNKS], options[B.SCORE_MOD_GRAD] = chunks.max(), counts.max(), score_mod_grad
    # Pages of it that no sequence has chunks for are never touched.
    partial = np.zeros((max(int(counts.max()) - 1, 1), *query.shape[1:]), query.dtype)
    work = B.BACKWARD_F32 if query.itemsize == 4 else B.BACKWARD_F64
    fmas = float(rows @ keys) * query.shape[1] * (query.shape[3] + value.shape[3])
    work(
        2.5 * fmas * query.itemsize * NS_PER_FMA_BYTE, query, key, value, out, lse, grad_out, grad_query, grad_key,
        grad_value, partial, options, scale, softcap, dropout_p,
    )  # fmt: skip
    for n in range(int(counts.max()) - 1):
        for b in np.flatnonzero((counts > n + 1) & (rows > 0)):
            part = slice(query_starts[b], query_starts[b + 1])
            grad_query[0, :, part] += partial[n, :, part]
