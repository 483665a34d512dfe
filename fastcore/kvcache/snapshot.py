"""Copies of stored rows that an operation is about to overwrite, to put them back should it fail."""

from typing import Any

import numpy as np

from fastcore.kvcache.storage import Storage


class RowSnapshot:
    """Rows of some pages, byte for byte. Plain NumPy on purpose: undoing needs nothing that may just have failed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._saved: list[tuple[int, Any, dict[str, np.ndarray]]] = []

    def add(self, page: int, slots: Any) -> None:
        """Copy the rows `slots` (an index array or a slice) of all heads of a page."""
        self._saved.append(
            (page, slots, {name: array[page][:, slots].copy() for name, array in self._storage.arrays.items()})
        )

    def put_back(self) -> None:
        for page, slots, rows in self._saved:
            for name, array in self._storage.arrays.items():
                array[page][:, slots] = rows[name]
