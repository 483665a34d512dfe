"""How page tables grow: which pages an append needs, and which it has to copy first."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastcore.kvcache.pages import PagePool

# A sequence: page table, of which the first ceil(length / page_size) entries are its pages and the others are room to
# grow; length in tokens; address of the table. A plain tuple, which costs nothing to make for each of many sequences.
Entry = tuple[np.ndarray, int, int]

SMALLEST_TABLE = 4


class Growth(NamedTuple):
    """What an append does to the pages of its sequences, known by their numbers in the call."""

    copies: list[tuple[int, int]]  # (sequence, page it shares and must not write to)
    extensions: list[tuple[int, int, int]]  # (sequence, pages it has, pages it has then)
    pages: int  # how many that takes


def new_entry(table: np.ndarray, length: int) -> Entry:
    return table, length, table.ctypes.data


def pages_of(entry: Entry, page_size: int) -> np.ndarray:
    """The pages of a sequence, a view."""
    table, length, _ = entry
    return table[: -(-length // page_size)]


def plan_growth(
    tables: Sequence[np.ndarray], lengths: Sequence[int], ends: Sequence[int], pool: PagePool, page_size: int
) -> Growth:
    """What it takes to bring sequences from `lengths` to `ends` tokens.

    Notes
    -----
    Copy on write: who writes into a last page that others own too gets a copy of it. Where all owners of a page write
    in one call, as beams do, the longest of them keeps it, since its new rows lie behind what any of them shows: should
    the call break off, none is harmed. So n forks cost n - 1 pages. Source: Kwon et al. 2023, section 4.4.
    """
    owners = pool.owners
    extensions, needed = [], 0
    writers: dict[int, list[tuple[int, int]]] = {}
    for i, (table, length, end) in enumerate(zip(tables, lengths, ends, strict=True)):
        if end == length:
            continue
        used = -(-length // page_size)
        room = used * page_size
        if length != room:
            page = table.item(used - 1)
            if owners.item(page) > 1:
                writers.setdefault(page, []).append((length, i))
        if end > room:
            wanted = -(-end // page_size)
            extensions.append((i, used, wanted))
            needed += wanted - used
    copies = []
    for page, lengths_and_numbers in writers.items():
        if len(lengths_and_numbers) == owners.item(page):
            lengths_and_numbers.remove(max(lengths_and_numbers))
        copies += [(i, page) for _, i in lengths_and_numbers]
    return Growth(copies, extensions, needed + len(copies))


def extended_table(table: np.ndarray, used: int, wanted: int, num_pages: int) -> np.ndarray:
    """`table` if it has room for `wanted` pages, else its `used` pages in one of twice the size, if so many exist."""
    if wanted <= table.size:
        return table
    larger = np.zeros(max(wanted, min(max(2 * table.size, SMALLEST_TABLE), num_pages)), np.int64)
    larger[:used] = table[:used]
    return larger
