"""What both caches are asked about themselves."""

from typing import Any

from fastcore.kvcache.locking import Locked
from fastcore.kvcache.rotary import Rotary
from fastcore.kvcache.storage import Storage


class Cache(Locked):
    """Stored keys and values with the lock around them. The attributes are set by whoever derives from it."""

    _sizes: Any  # CacheSizes or PagedSizes
    _storage: Storage
    _rotary: Rotary | None

    @property
    def num_kv_heads(self) -> int:
        return self._sizes.num_kv_heads

    @property
    def head_dim(self) -> int:
        return self._sizes.head_dim

    @property
    def value_dim(self) -> int:
        return self._sizes.value_dim

    @property
    def dtype(self) -> str:
        """The storage format."""
        return self._storage.dtype

    @property
    def rotary(self) -> Rotary | None:
        return self._rotary

    @property
    def nbytes(self) -> int:
        """Bytes of the stored keys, values and scales, all reserved at once."""
        return self._storage.nbytes
