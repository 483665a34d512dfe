"""Caches of keys and values for decoding token by token."""

from fastcore.kvcache.contiguous import KVCache
from fastcore.kvcache.errors import CacheFullError
from fastcore.kvcache.paged import PagedKVCache
from fastcore.kvcache.paged_state import PagedStats
from fastcore.kvcache.rotary import Rotary, rotary_embedding

__all__ = ["CacheFullError", "KVCache", "PagedKVCache", "PagedStats", "Rotary", "rotary_embedding"]
