"""What the caches raise besides ValueError and TypeError."""


class CacheFullError(RuntimeError):
    """The cache has no room for what was to be stored; it is as it was before the call.

    Room comes back with `free`, `truncate` or `reset`, after which the call can be repeated.
    """
