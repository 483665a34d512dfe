"""Which axes of the mesh split which axes of an array: `P`, and the arithmetic of blocks."""

from collections.abc import Mapping
from typing import Any

Entry = str | tuple[str, ...] | None


class P(tuple[Entry, ...]):
    """Partition specification, as JAX's `PartitionSpec`: for each axis of an array the mesh axes that split it.

    ``P("dp")`` splits the first axis over "dp", ``P(None, "tp")`` the second over "tp", ``P(("dp", "tp"))`` the first
    over both, "dp" first. Axes of the array that are not named are not split; the array is repeated over axes of the
    mesh that are not named.
    """

    __slots__ = ()

    def __new__(cls, *entries: Entry) -> "P":
        for entry in entries:
            names = entry if isinstance(entry, tuple) else (entry,)
            if not all(name is None or isinstance(name, str) for name in names) or (names != (None,) and None in names):
                raise TypeError(
                    f"An entry of P must be the name of a mesh axis, a tuple of names or None. Got {entry!r}."
                )
        return super().__new__(cls, entries)

    def __repr__(self) -> str:
        return f"P({', '.join(map(repr, self))})"

    def names(self, dimension: int) -> tuple[str, ...]:
        """Mesh axes that split an axis of the array."""
        entry = self[dimension] if dimension < len(self) else None
        return () if entry is None else entry if isinstance(entry, tuple) else (entry,)

    def used(self) -> tuple[str, ...]:
        """All mesh axes named."""
        return tuple(name for dimension in range(len(self)) for name in self.names(dimension))

    def without(self, axes: tuple[str, ...]) -> "P":
        """The specification with these mesh axes taken out, wherever they stand."""
        kept = [tuple(name for name in self.names(dimension) if name not in axes) for dimension in range(len(self))]
        return P(*(entry_of(names) for names in kept))

    def replaced(self, dimension: int, names: tuple[str, ...], ndim: int) -> "P":
        """The specification with other mesh axes for one axis of an array of `ndim` axes."""
        entries = [self.names(each) for each in range(ndim)]
        entries[dimension] = names
        return P(*map(entry_of, entries))


def entry_of(names: tuple[str, ...]) -> Entry:
    """The shortest way to write these axes in a `P`."""
    return None if not names else names[0] if len(names) == 1 else names


def parts_of(spec: P, dimension: int, axes: Mapping[str, int]) -> int:
    """Into how many blocks an axis of the array is cut."""
    parts = 1
    for name in spec.names(dimension):
        parts *= axes[name]
    return parts


def as_spec(spec: Any) -> P:
    """`spec` as a `P`; a single name and None are taken, too."""
    if isinstance(spec, P):
        return spec
    return P(*spec) if isinstance(spec, tuple) else P() if spec is None else P(spec)
