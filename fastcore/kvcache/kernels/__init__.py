"""Kernels of the caches: writing rows in their storage format and reading them back."""
