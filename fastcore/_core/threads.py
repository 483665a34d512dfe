"""The one place that decides between a serial body and a parallel launch.

A public function estimates its serial work in nanoseconds and asks::

    width = threads.begin(work_ns)
    if width == 1:
        body(...)
    else:
        try:
            driver(..., width)
        finally:
            threads.end()

What each threading layer of Numba does, measured with Numba 0.68 and TBB 2022 (tests/_core/test_threads.py):

========= =========== ============= ================= ================ =============================================
layer     hot launch  after idling  launches at once  nested launches  in a forked child
========= =========== ============= ================= ================ =============================================
tbb       2 µs        100 µs        fine              fine             fine if one thread has launched and forks;
                                                                       else a hang in 1 of 10 (a launch in flight)
                                                                       to 1 of 1500 forks (threads between launches)
omp (GNU) 2 µs        up to 6 ms    fine              fine             ended by SIGTERM; a grandchild hangs
workqueue 90–140 µs   220 µs        SIGABRT           SIGABRT          fine
========= =========== ============= ================= ================ =============================================

Launches outside fastcore (a user's own parallel kernels) are not seen here. Beside one, workqueue ends the process:
where both are needed, install ``tbb`` or set NUMBA_THREADING_LAYER=omp.
"""

import ctypes
import importlib.metadata
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import index as as_integer

import numba
from numba import config
from numba.np.ufunc import parallel as numba_parallel

from fastcore._core.atomic import atomic_add
from fastcore._core.team import Team

__all__ = [
    "atomic_add",
    "begin",
    "end",
    "get_num_threads",
    "num_threads",
    "pool_size",
    "set_num_threads",
    "start",
    "threading_layer",
]

# Serial nanoseconds each worker must be worth, so that two are worth their launch: with hot workers a loop of 60 µs
# breaks even on tbb, of 20 µs on omp, of about 300 µs on workqueue. Idle ones cost tbb 50–100 µs more, once in a loop.
WORK_NS_PER_WORKER = {"tbb": 30_000.0, "omp": 15_000.0, "workqueue": 150_000.0}
SMALLEST_WORK_NS = 2 * min(WORK_NS_PER_WORKER.values())

_TBB_LIBRARY = {"linux": "libtbb.so.12", "win32": "tbb12.dll"}
# Choices of the user's that TBB satisfies.
_TBB_CHOICES = {"tbb", "safe", "threadsafe", "forksafe"}


class _State:
    """What this process knows of its threading layer."""

    def __init__(self) -> None:
        self.layer: str | None = None
        self.starter: int | None = None  # ident of the thread that started the layer
        self.others_launched = False  # and not the starter alone
        self.serial_only = False  # in a forked child that must not launch
        self.child_is_serial = False  # the same, for the child that is being forked
        self.forking = False
        # Launches in flight: ident of the calling thread -> (its workers, the thread count to put back, whose team).
        self.launches: dict[int, tuple[int, int, Team | None]] = {}
        self.start_lock = threading.Lock()
        self.workqueue_lock = threading.Lock()
        self.read_count: Callable[[], int] = numba.get_num_threads
        self.write_count: Callable[[int], object] = numba.set_num_threads


_state = _State()


def start() -> str:
    """Start the threading layer of this process if it is not running, and return its name.

    Never called at import: the layer, once there, makes a later fork harder. Whatever compiles or loads parallel code
    calls it first, since Numba would start a layer of its own choice, without the TBB that pip installed.
    """
    layer = _state.layer
    if layer is None:
        with _state.start_lock:
            layer = _state.layer = _state.layer or _start()
    return layer


def _start() -> str:
    running = threading_layer() is not None
    if not running:
        _preload_tbb()
        numba.get_num_threads()
    # Where a user's code has started it, most likely the main thread did.
    _state.starter = threading.main_thread().ident if running else threading.get_ident()
    # Numba's own functions take two locks at each call: 0.7 µs, and a hang in a child forked while another thread
    # holds one. The functions behind them read and write the thread's slot directly.
    _state.read_count = getattr(numba_parallel, "_get_num_threads", None) or numba.get_num_threads
    _state.write_count = getattr(numba_parallel, "_set_num_threads", None) or numba.set_num_threads
    layer: str = numba.threading_layer()
    return layer


def _preload_tbb() -> None:
    """Load PyPI's TBB, which Numba looks up by its bare name and so misses inside a virtual environment."""
    choice = str(config.THREADING_LAYER).lower()
    if choice not in _TBB_CHOICES and not (choice == "default" and config.THREADING_LAYER_PRIORITY[0] == "tbb"):
        return
    try:
        files = importlib.metadata.files("tbb") or []
        path = next(file.locate() for file in files if file.name == _TBB_LIBRARY.get(sys.platform))
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError):
        return  # Numba goes on to look for a system-wide TBB, then for OpenMP


def threading_layer() -> str | None:
    """Name of the threading layer in use: "tbb", "omp" or "workqueue"; None before it is started."""
    try:
        layer: str = numba.threading_layer()
    except ValueError:
        return None
    return layer


def _width(work_ns: float, team: Team | None) -> tuple[int, int]:
    """(workers for this call, thread count of this Python thread).

    Launches in flight share the pool. On a full machine a second team gains nothing over a serial body (2 and 8 Python
    threads, kernels of 0.2 and 2 ms), and on omp, whose workers spin while they wait for each other, launches of 0.1 to
    0.9 ms took 15 to 100 times as long with a core taken by something else.
    """
    if work_ns < SMALLEST_WORK_NS or _state.serial_only:
        return 1, 1
    if team is None:
        layer, cores = _state.layer or start(), pool_size()
        count = _thread_count()
    else:
        layer, cores = "omp", team.size()
        count = cores if _state.layer is None else min(cores, _thread_count())
    width = min(work_ns / WORK_NS_PER_WORKER[layer], count)
    if team is not None and width >= 2:
        width = count  # GNU's OpenMP ends the threads that a smaller team leaves out, and makes them anew
    if _state.launches:
        # A copy, since other threads add and remove theirs meanwhile.
        taken = sum(workers for workers, *_ in _state.launches.copy().values())
        width = min(width, cores - taken)
    return max(1, int(width)), count


def begin(work_ns: float, team: Team | None = None) -> int:
    """Claim a launch and answer its number of workers, or 1: run the serial body, and do not call `end`.

    Answers 1 for little work, inside another launch of this thread, where a launch would end or hang the process, and
    where other launches have all the cores.

    Parameters
    ----------
    work_ns : estimated time of the serial body, in nanoseconds
    team : launch on these threads, optional
    """
    if work_ns < SMALLEST_WORK_NS:
        return 1
    caller = threading.get_ident()
    if caller in _state.launches:
        return 1
    width, count = _width(work_ns, team)
    if width == 1:
        return 1
    # Said first, asked second: a fork says so first and looks at the launches second, so one of the two gives way.
    _state.launches[caller] = width, count, team
    locks = team is None and _state.layer == "workqueue"
    if _state.forking or (locks and not _state.workqueue_lock.acquire(blocking=False)):
        del _state.launches[caller]
        return 1
    if team is not None:
        return width
    if caller != _state.starter:
        _state.others_launched = True
    if width < count:
        # Numba wakes as many threads as the count says, whatever the length of the loop.
        _state.write_count(width)
    return width


def end() -> None:
    """Give back the launch that `begin` claimed."""
    caller = threading.get_ident()
    width, count, team = _state.launches.get(caller, (0, 0, None))
    if width == 0:
        return  # in a child that was forked inside the launch
    try:
        if team is not None:
            return
        if width < count:
            _state.write_count(count)
        if _state.layer == "workqueue":
            _state.workqueue_lock.release()
    finally:
        del _state.launches[caller]


def pool_size() -> int:
    """The most threads a launch can have: NUMBA_NUM_THREADS, by default the cores this process may use."""
    size: int = config.NUMBA_NUM_THREADS
    return size


def set_num_threads(n: int) -> None:
    """Set how many threads the kernels called from this Python thread may use.

    The same setting as `numba.set_num_threads`. Other Python threads keep theirs; new ones begin with the whole pool.

    Parameters
    ----------
    n : int, 1 to `numba.config.NUMBA_NUM_THREADS`

    Raises
    ------
    ValueError : n is out of bounds
    TypeError : n is no integer
    """
    count = _checked_count(n)
    start()
    _state.write_count(count)


def get_num_threads() -> int:
    """Number of threads that kernels called from this Python thread may use: the whole pool, unless set otherwise."""
    start()
    return _thread_count()


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use up to `n` threads inside the ``with`` block, in this Python thread; see `set_num_threads`."""
    count = _checked_count(n)
    previous = get_num_threads()
    _state.write_count(count)
    try:
        yield
    finally:
        _state.write_count(previous)


def _thread_count() -> int:
    count = _state.read_count()
    if count < 1:
        # In a forked child on workqueue, whose pool is only made by its first launch.
        count = pool_size()
        _state.write_count(count)
    return count


def _checked_count(n: int) -> int:
    if isinstance(n, bool):
        raise TypeError(f"n must be an integer. Got {n!r}.")
    try:
        count = as_integer(n)
    except TypeError:
        raise TypeError(f"n must be an integer. Got {type(n).__name__} {n!r}.") from None
    if not 1 <= count <= pool_size():
        raise ValueError(
            f"n must be between 1 and {pool_size()}, the size of Numba's thread pool. Got {count}. "
            "For a larger pool set NUMBA_NUM_THREADS before Python starts."
        )
    return count


def _before_fork() -> None:
    """Stop new launches, and decide whether the child may launch: serial where that is not known to be safe.

    TBB's workers must be joined before a fork. Numba tries to, but cannot from another thread than the starter, nor
    while TBB serves other threads, which it does for a while after they end. Without, a lock inside TBB may be taken.
    """
    _state.start_lock.acquire()
    _state.forking = True
    layer = threading_layer()
    starter = _state.starter or threading.main_thread().ident
    unjoined = layer == "tbb" and (_state.others_launched or threading.get_ident() != starter)
    _state.child_is_serial = _state.serial_only or layer == "omp" or unjoined or bool(_state.launches)


def _after_fork_in_parent() -> None:
    _state.forking = False
    _state.start_lock.release()


def _after_fork_in_child() -> None:
    _state.serial_only = _state.child_is_serial
    _state.forking = False
    _state.launches = {}
    _state.start_lock = threading.Lock()
    _state.workqueue_lock = threading.Lock()


# A multiprocessing child that loads this module only now, since names of fastcore load late, was forked without the
# handlers below. If OpenMP runs already, the parent may have started it.
_state.serial_only = threading_layer() == "omp" and multiprocessing.parent_process() is not None

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
