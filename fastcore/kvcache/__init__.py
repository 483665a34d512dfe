"""Caches of keys and values for decoding token by token."""
