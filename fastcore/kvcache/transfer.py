"""Changes of a paged cache that may break off anywhere: what is left behind, and the move from one cache to another."""

from typing import TYPE_CHECKING, NamedTuple

from fastcore.kvcache.errors import require_pages
from fastcore.kvcache.growth import new_entry, pages_of

if TYPE_CHECKING:
    from fastcore.kvcache.paged_state import PagedState


class Commit:
    """The one fact that decides a move, seen by both caches: setting `done` is a single store, which cannot fail."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


class Unfinished(NamedTuple):
    """What a cache has to do once a change of it broke off: drop `sequence` if the change ended as `drop_if`.

    The cache of a move's source drops the sequence if the move is done, the target if it is not. Whoever comes next,
    and however often that breaks off too, arrives at the same.
    """

    commit: Commit
    sequence: int
    drop_if: bool


# A change within one cache: its only effect on the sequences is one dict operation, so nothing is ever to be dropped.
WITHIN = Unfinished(Commit(), -1, True)


def move(source: "PagedState", sequence: int, target: "PagedState") -> int:
    """Move a sequence; both locks are held and both caches settled. Returns its id in `target`.

    Up to `commit.done = True` any exception leaves the sequence in `source`, from there on it is in `target`.
    """
    entry, sizes = source._sequences[sequence], target._sizes
    pages, (_, length, _) = pages_of(entry, source.page_size), entry
    needed = -(-length // sizes.page_size)
    require_pages(needed, target._pool.free, sizes.num_pages, sizes.page_size, "other")
    commit, arrived = Commit(), target._new_id()
    try:
        source._open = Unfinished(commit, sequence, True)
        target._open = Unfinished(commit, arrived, False)
        table = target._pool.take(needed)
        source._storage.copy_slots(pages, target._storage, table, length)
        source._pool.release(pages)
        target._sequences[arrived] = new_entry(table, length)
        commit.done = True
        del source._sequences[sequence]
        source._open = target._open = None
    except BaseException:
        source._settle_open()
        target._settle_open()
        raise
    return arrived
