"""Attention of new tokens to their sequences' cached keys and values."""

import numpy as np

from fastcore.reference import scaled_dot_product_attention


def attend_sequences(
    storage, tables, lengths, queries, outs, *, scale, softcap, is_causal, window=None, sinks=0, ring_rows=0
):
    """Attend the newest tokens of each sequence; see the contract."""
    for table, length, query, out in zip(tables, lengths, queries, outs, strict=True):
        heads, new, size = query.shape
        if new == 0:
            continue
        first = length - new
        lowest = 0 if window is None else max(sinks, first - window + 1)
        positions = np.r_[np.arange(min(sinks, length, lowest)), np.arange(lowest, length)]
        slots = np.where(positions < sinks, positions, sinks + (positions - sinks) % ring_rows) if ring_rows else positions
        key, value = storage.read(table, slots)
        at = first + np.arange(new)[:, None]
        mask = np.ones((new, positions.size), bool)
        if is_causal:
            mask &= positions <= at
        if window is not None:
            mask &= (positions < sinks) | (positions > at - window)
        out[...] = scaled_dot_product_attention(
            query[None], key[None], value[None], mask, scale=scale, softcap=softcap
        )[0]
