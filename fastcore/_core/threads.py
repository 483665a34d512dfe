"""The one place that decides between a serial body and a parallel launch.

A public function estimates its serial work in nanoseconds and asks:

    width = threads.begin(work_ns)
    if width == 1:
        body(...)
    else:
        try:
            driver(..., width)
        finally:
            threads.end()
"""

import ctypes
import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import index as as_integer

import numba
from numba import config
from numba.np.ufunc import parallel as numba_parallel

from fastcore._core.atomic import atomic_add

__all__ = [
    "atomic_add",
    "begin",
    "end",
    "get_num_threads",
    "launch_width",
    "num_threads",
    "set_num_threads",
    "threading_layer",
]

# Serial nanoseconds a worker must be worth.
WORK_NS_PER_WORKER = {"tbb": 30_000.0, "omp": 30_000.0, "workqueue": 300_000.0}
SMALLEST_WORK_NS = min(WORK_NS_PER_WORKER.values())

# Layers a process can go on using after fork.
_FORK_SAFE_LAYERS = {"tbb"}
_TBB_LIBRARY = {"linux": "libtbb.so.12", "win32": "tbb12.dll"}


class _State:
    """What this process knows of its threading layer."""

    def __init__(self) -> None:
        self.layer: str | None = None
        self.starter: int | None = None  # ident of the thread that started the layer
        self.serial_only = False  # a forked child that must not launch
        self.launches: dict[int, int] = {}  # ident of each launching thread -> the thread count to put back
        self.start_lock = threading.Lock()
        self.workqueue_lock = threading.Lock()


_state = _State()


def preload_tbb() -> bool:
    """Load PyPI's TBB for Numba, which looks it up by its bare name and misses it inside a virtual environment."""
    wanted = str(config.THREADING_LAYER).lower()
    if wanted == "default" and config.THREADING_LAYER_PRIORITY[0] != "tbb":
        return False
    if wanted not in {"default", "tbb", "safe", "threadsafe", "forksafe"}:
        return False
    name = _TBB_LIBRARY.get(sys.platform)
    try:
        files = importlib.metadata.files("tbb") or []
        paths = [file.locate() for file in files if file.name == name]
        ctypes.CDLL(str(paths[0]), mode=ctypes.RTLD_GLOBAL)
    except (importlib.metadata.PackageNotFoundError, IndexError, OSError):
        return False
    return True


def _start() -> str:
    """Start the threading layer of this process, once, and ask Numba which it is."""
    with _state.start_lock:
        if _state.layer is None:
            preload_tbb()
            numba.get_num_threads()  # starts the layer
            _state.starter = threading.get_ident()
            _state.layer = numba.threading_layer()
        return _state.layer


def threading_layer() -> str | None:
    """Name of the threading layer in use: "tbb", "omp" or "workqueue"; None before the first launch."""
    try:
        layer: str = numba.threading_layer()
    except ValueError:
        return None
    return layer


def launch_width(work_ns: float) -> int:
    """Number of workers that work of `work_ns` serial nanoseconds deserves; 1 means run the serial body."""
    if work_ns < SMALLEST_WORK_NS or _state.serial_only:
        return 1
    layer = _state.layer or _start()
    threshold = WORK_NS_PER_WORKER[layer]
    if work_ns < threshold:
        return 1
    return min(numba.get_num_threads(), 1 + int(work_ns // threshold))


def begin(work_ns: float) -> int:
    """Claim a launch for work of `work_ns` serial nanoseconds. 1: run the serial body, and do not call `end`."""
    if work_ns < SMALLEST_WORK_NS:
        return 1
    ident = threading.get_ident()
    width = 1 if ident in _state.launches else launch_width(work_ns)
    if width == 1:
        return 1
    if _state.layer == "workqueue" and not _state.workqueue_lock.acquire(blocking=False):
        return 1
    _state.launches[ident] = width
    return width


def end() -> None:
    """Give back the launch that `begin` claimed."""
    del _state.launches[threading.get_ident()]
    if _state.layer == "workqueue":
        _state.workqueue_lock.release()


def set_num_threads(n: int) -> None:
    """Set how many threads the parallel kernels called from this Python thread use."""
    _start()
    numba.set_num_threads(_checked_count(n))


def get_num_threads() -> int:
    """Number of threads the parallel kernels called from this Python thread use."""
    _start()
    return int(numba.get_num_threads())


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use `n` threads inside the `with` block, in this Python thread."""
    previous = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(previous)


def _checked_count(n: int) -> int:
    if isinstance(n, bool):
        raise TypeError(f"n must be an integer. Got {n!r}.")
    try:
        count = as_integer(n)
    except TypeError:
        raise TypeError(f"n must be an integer. Got {type(n).__name__} {n!r}.") from None
    bound = config.NUMBA_NUM_THREADS
    if not 1 <= count <= bound:
        raise ValueError(
            f"n must be between 1 and {bound}, the size of the thread pool (NUMBA_NUM_THREADS). Got {count}."
        )
    return count


def _before_fork() -> None:
    _state.start_lock.acquire()


def _after_fork_in_parent() -> None:
    _state.start_lock.release()


def _after_fork_in_child() -> None:
    layer = threading_layer()
    _state.serial_only |= layer is not None and layer not in _FORK_SAFE_LAYERS
    _state.start_lock = threading.Lock()
    _state.workqueue_lock = threading.Lock()
    _state.launches = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
