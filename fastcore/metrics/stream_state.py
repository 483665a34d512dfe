"""What all states of streams share: batches become pieces, which are never changed, and pieces are put together.

Whoever changes a state makes a new tuple of pieces and puts it in place of the old one at once. So a batch that is
refused leaves no trace, copies cost nothing, and threads may update one state.
"""

import copy
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from fastcore._core import validate_streams as check
from fastcore._core.validate_targets import number_of_samples, same_lengths


class Seen(NamedTuple):
    """How many samples there were, and what is left of them."""

    rows: int
    pieces: tuple[Any, ...]


class Stream:
    """State of a metric over batches of samples, made by `stream`.

    Attributes
    ----------
    rows : samples seen so far

    Notes
    -----
    States are pickled as plain arrays, to be merged in another process. Threads may update and merge one state at once.
    """

    # Pieces of about one size that are kept before they are joined. Each sample is moved once for each factor of `fan`
    # in size: 1e7 distinct scores in batches of 1e5 three times with 8, seven times with 2.
    fan: ClassVar[int] = 1

    def __init__(
        self, metric: Callable[..., Any], arguments: Sequence[str], options: dict[str, Any], sample: Sequence[Any]
    ) -> None:
        self._metric = metric
        self._name = metric.__name__
        self._arguments = tuple(arguments)
        self._options = copy.deepcopy(options)
        self._all_options = check.options(metric, self._arguments, self._options)
        self._has_weights = "sample_weight" in inspect.signature(metric).parameters
        check.option_values(metric, sample, self._options)
        self._seen = Seen(0, ())
        self._lock = threading.Lock()

    # --- what each family has of its own ---

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> Any:
        """The piece of a batch of at least one sample; raises where the metric would for any data with this batch."""
        raise NotImplementedError

    def _agree(self, pieces: Sequence[Any]) -> None:
        """Raise where pieces, each in order, are not of one stream."""

    def _join(self, pieces: Sequence[Any]) -> Any:
        """One piece of several."""
        raise NotImplementedError

    def _size(self, piece: Any) -> int:
        """How much memory a piece takes, in any unit."""
        return 1

    def _evaluate(self, piece: Any, rows: int) -> Any:
        """The metric."""
        raise NotImplementedError

    # --- public ---

    @property
    def rows(self) -> int:
        """Samples seen so far."""
        return self._seen.rows

    def update(self, *arrays: Any, sample_weight: Any = None) -> Self:
        """Add a batch of samples.

        Parameters
        ----------
        *arrays : of N samples each, as the metric takes them, in its order; N may be 0
        sample_weight : (N,) numbers, optional, for metrics that have weights; batches without count as weighted by 1

        Returns
        -------
        the state itself

        Raises
        ------
        ValueError, TypeError : as the metric; the state is then as it was before
        """
        check.number_of_arrays(arrays, self._arguments, self._name)
        if sample_weight is not None and not self._has_weights:
            check.no_weights(self._name)
        same_lengths(*arrays, sample_weight)
        rows = number_of_samples(arrays[0])
        if rows:
            self._add(rows, (self._read(arrays, sample_weight),))
        return self

    def merge(self, other: Any) -> Self:
        """Add all that another state of the same metric and options has seen.

        Parameters
        ----------
        other : a state, which stays as it is

        Returns
        -------
        the state itself

        Raises
        ------
        TypeError : other is no state of this kind
        ValueError : its metric or options are others, or its batches do not go with those here
        """
        check.same_stream(self, other, self._same_question)
        seen = other._seen
        if seen.rows:
            self._add(seen.rows, seen.pieces)
        return self

    def result(self) -> Any:
        """The metric of all samples seen so far; at any time, any number of times.

        Raises
        ------
        ValueError, TypeError : as the metric of all these samples, or of none
        """
        with self._lock:
            rows, pieces = self._seen
            if len(pieces) > 1:
                pieces = (self._join(pieces),)
                self._seen = Seen(rows, pieces)
        if not rows:
            return self._metric(*(np.empty(0, np.int64) for _ in self._arguments), **self._options)
        return self._evaluate(pieces[0], rows)

    def copy(self) -> Self:
        """A state of its own that has seen the same."""
        other = object.__new__(type(self))
        other.__setstate__(self.__getstate__())
        return other

    def __copy__(self) -> Self:
        return self.copy()

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._shown_options().items())
        return f"<stream({self._name}{options}): {self.rows} rows>"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    # --- inside ---

    def _shown_options(self) -> dict[str, Any]:
        return self._options

    def _same_question(self, other: Any) -> tuple[bool, str]:
        if other._metric is not self._metric:
            return False, "metric"
        ours, theirs = self._all_options, other._all_options
        return all(check.equal_options(ours[name], theirs[name]) for name in ours), "options"

    def _add(self, rows: int, pieces: tuple[Any, ...]) -> None:
        with self._lock:
            seen = self._seen
            together = seen.pieces + pieces
            if len(together) > 1:
                self._agree(together)
                together = self._compacted(together)
            self._seen = Seen(seen.rows + rows, together)

    def _compacted(self, pieces: tuple[Any, ...]) -> tuple[Any, ...]:
        """Fewer pieces, so that the number of pieces grows with the logarithm of what was seen."""
        if self.fan == 1:
            return (self._join(pieces),)
        sizes = [self._size(piece) for piece in pieces]
        for limit in sorted(set(sizes)):
            small = [piece for piece, size in zip(pieces, sizes) if size <= self.fan // 2 * limit]
            if len(small) >= self.fan:
                large = [piece for piece, size in zip(pieces, sizes) if size > self.fan // 2 * limit]
                return self._compacted((*large, self._join(small)))
        return pieces
