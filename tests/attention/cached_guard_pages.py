"""Attention over stored rows whose arrays end, or begin, right at a page nobody may touch; prefetches may.

Run by test_cached_processes.py with the names of formats; prints the number of cases that were right.
"""

import itertools
import sys

import numpy as np

from tests.attention.cached_case import Sequences, normal
from tests.attention.guard_pages import guarded

# D, Dv, P, lengths; then new tokens, query heads of a key/value head.
SIZES = [
    (1, 7, 1, [1, 5]),
    (16, 33, 3, [3, 66]),
    (64, 16, 16, [64, 16]),
    (80, 100, 64, [320]),
    (100, 20, 5, [15, 130]),
    (576, 16, 7, [21]),
]
QUERIES = [(1, 1), (1, 3), (1, 8), (2, 5), (3, 2), (15, 1), (40, 1)]
OPTIONS = [{}, {"softcap": 2.0}, {"is_causal": False}]


def place(array, at_end):
    return guarded(array, at_end, range(array.ndim))


def moved(case, at_end):
    """The same with all that kernels read next to forbidden pages."""
    storage = case.storage
    for name, array in storage.arrays.items():
        storage.arrays[name] = place(array, at_end)
        setattr(storage, name, storage.arrays[name])
    case.tables = [place(table, at_end) for table in case.tables]
    case.lengths = place(case.lengths, at_end)
    case.reader = case.new_reader()
    return case


def run(rng, dtype, sizes, at_end):
    size, value_size, page_size, lengths = sizes
    case = moved(Sequences(rng, dtype, lengths, 2, size, value_size, page_size, spare=0), at_end)
    ring = moved(Sequences(rng, dtype, lengths, 2, size, value_size, page_size, 9, 2, 4, spare=0), at_end)
    done = 0
    for (new, group), options in zip(QUERIES, itertools.cycle(OPTIONS)):
        for of, most in ((case, min(lengths)), (ring, min(5, *lengths))):
            if new > most:
                continue
            query = place(normal(rng, len(lengths), 2 * group, new, size), at_end)
            out = place(np.zeros((*query.shape[:3], value_size), np.float32), at_end)
            call = {"scale": of.scale, "softcap": 0.0, "is_causal": True} | options
            of.reader.attend(of.addresses(), of.lengths, query, out, **call)
            for number in range(len(lengths)):
                of.check(number, out[number], query[number], **options)
            done += 1
    return done


def main():
    rng = np.random.default_rng(0)
    print(sum(run(rng, *case) for case in itertools.product(sys.argv[1:], SIZES, (True, False))))


if __name__ == "__main__":
    main()
