"""What the caches raise besides ValueError and TypeError."""


class CacheFullError(RuntimeError):
    """The cache has no room for what was to be stored; it is as it was before the call.

    Room comes back with `free`, `truncate` or `reset`, after which the call can be repeated.
    """


def require_pages(needed: int, free: int, num_pages: int, page_size: int, whose: str = "the cache") -> None:
    """Raise unless `needed` pages of the cache named `whose` are free."""
    if needed > free:
        raise CacheFullError(
            f"{whose} has too few free pages. Needed {needed} of {page_size} tokens, free {free} of {num_pages};"
            " nothing was changed. Free or truncate sequences in it, or make it with more pages."
        )
