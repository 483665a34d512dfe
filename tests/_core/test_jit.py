"""The `kernel` decorator: options, declared signatures, threads, forks, and the fall-back to plain njit."""

import itertools
import math
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numba import config, float64, prange, types
from numba.core import event

from fastcore._core import cache, cache_key, jit
from fastcore._core.jit import kernel

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="about compiled kernels")

READ = types.Array(float64, 2, "A", readonly=True)
WRITE = types.Array(float64, 2, "A")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, so that compilations can be counted."""
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(tmp_path))
    # Somebody may save a file beside this one while it runs.
    monkeypatch.setattr(cache_key, "_STARTED", math.inf)
    return tmp_path


@pytest.fixture
def registry(monkeypatch):
    """A registry of the test's own."""
    kernels = []
    monkeypatch.setattr(jit, "warm_registry", kernels)
    return kernels


@pytest.fixture
def compilations():
    """The functions compiled during the test; one that came from the cache is not among them."""

    class Listener(event.Listener):
        def __init__(self):
            self.names = []

        def on_start(self, event):
            self.names.append(event.data["dispatcher"].py_func.__name__)

        def on_end(self, event):
            pass

    listener = Listener()
    event.register("numba:compile", listener)
    yield listener.names
    event.unregister("numba:compile", listener)


def add(left, right, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = left[i, j] + right[i, j]


def total(array):
    result = 0.0
    for i in range(array.size):
        result += array[i]
    return result


def allocate(length):
    values = np.empty(length)
    values[:] = 2.0
    return values


def divide(numerator, denominator):
    return numerator / denominator


doubled = kernel(lambda x: 2.0 * x)
allocated = kernel(allocate)


def call_others(x, length):
    return doubled(x) + allocated(length).sum()


def sum_parallel(rows, columns):
    result = 0.0
    for _ in prange(rows):
        result += allocated(columns).sum()
    return result


def declared(x):
    return doubled(x)


OPTIONS = [
    dict(zip(("parallel", "fastmath"), values, strict=True))
    for values in itertools.product([False, True], [False, {"contract"}, jit.SAFE_FASTMATH])
]


def declare_add():
    return kernel(signature=types.void(READ, READ, WRITE))(add)


def test_declared_every_layout_uses_the_one_instance():
    compiled = declare_add()
    whole = np.arange(48.0).reshape(6, 8)
    readonly = whole.copy()
    readonly.flags.writeable = False
    views = [whole, np.asfortranarray(whole), np.repeat(whole, 2, axis=1)[:, ::2], readonly, readonly[::1]]
    for left, right in itertools.product(views, repeat=2):
        for out in (np.empty((6, 8)), np.empty((8, 6)).T, np.empty((6, 16))[:, ::2]):
            compiled(left, right, out)
            np.testing.assert_array_equal(out, 2 * whole)
    assert len(compiled.signatures) == 1


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 2), "f4"), np.zeros(4), np.zeros((1, 2, 2)), np.zeros((2, 2), ">f8"), [1.0], None, 1.0]
)
def test_declared_wrong_argument_raises_type_error(wrong, first):
    """At the first call too, where the dispatcher compiles instead of looking for a match."""
    compiled = declare_add()
    right = np.zeros((2, 2))
    if not first:
        compiled(right, right, right)
    with pytest.raises(TypeError):
        compiled(wrong, right, right)
    assert len(compiled.signatures) == 1


def test_declared_readonly_output_raises_type_error():
    compiled = declare_add()
    values = np.zeros((2, 2))
    values.flags.writeable = False
    with pytest.raises(TypeError):
        compiled(values, values, values)


def test_declared_called_from_a_kernel_uses_the_one_instance():
    inner = declare_add()

    @kernel
    def outer(left, right, out):
        inner(left, right, out)

    values = np.ones((2, 3))
    for left in (values, np.asfortranarray(values)):
        out = np.empty((2, 3))
        outer(left, values, out)
        assert (out == 2).all()
    assert len(inner.signatures) == 1
    assert len(outer.signatures) == 2


def test_declared_by_a_callable_is_asked_for_at_the_first_call_only():
    asked = []

    def signature():
        asked.append(1)
        return float64(float64)

    compiled = kernel(signature=signature)(lambda x: x + 1.0)
    assert asked == []
    assert (compiled(1.0), compiled(2)) == (2.0, 3.0)
    assert asked == [1]


def test_decoration_compiles_nothing(compilations):
    assert declare_add().signatures == []
    assert kernel(total).signatures == []
    assert compilations == []


def test_kernel_parallel_of_allocating_kernels_from_the_cache(compilations):
    """What rebuilt code links to: Numba's memory runtime, other kernels, the threading layer."""

    def call_all():
        np.testing.assert_array_equal(kernel(allocate)(3), [2.0, 2.0, 2.0])
        return kernel(call_others)(1.5, 4), kernel(sum_parallel, parallel=True)(5, 3)

    assert call_all() == (11.0, 30.0)
    assert compilations
    compilations.clear()
    assert call_all() == (11.0, 30.0)
    assert compilations == []


def test_kernel_linked_into_new_code_after_it_came_from_the_cache(compilations):
    declare = kernel(signature=types.float64[::1](types.int64))
    declare(allocate)(3)
    loaded = declare(allocate)
    loaded(3)
    compilations.clear()

    @kernel
    def caller(length):
        return loaded(length)[0] + length

    assert caller(3) == 5.0
    assert "caller" in compilations
    assert "allocate" not in compilations


@pytest.mark.parametrize("options", OPTIONS)
def test_options_reach_numba(options):
    compiled = kernel(divide, **options)
    set_options = compiled.targetoptions
    assert set_options["nogil"] is True
    assert set_options["parallel"] is options["parallel"]
    assert set_options["fastmath"] == (set(options["fastmath"]) if options["fastmath"] else False)
    assert kernel(divide)(1.0, 0.0) == np.inf  # error_model="numpy": no ZeroDivisionError


def test_inline_reaches_numba():
    assert kernel(divide, inline=True).targetoptions["forceinline"] is True
    assert "forceinline" not in kernel(divide).targetoptions


def test_options_and_signatures_never_share_an_entry():
    keys = []
    for options in OPTIONS:
        for signature in (float64(float64, float64), types.float32(types.float32, types.float32), (float64, float64)):
            compiled = kernel(divide, **options)
            keys.append(compiled._cache.entry_key(signature, compiled.targetctx.codegen()))
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_options_of_one_function_come_back_as_they_were(compilations):
    def load_flags(options):
        compiled = kernel(sum_parallel, **options)
        assert compiled(5, 3) == 30.0
        # A parallel instance, and no other, starts the threads when it is loaded.
        return bool(next(iter(compiled.overloads.values())).reload_init)

    for _ in range(2):
        assert [load_flags(options) for options in OPTIONS] == [options["parallel"] for options in OPTIONS]
    assert compilations.count("sum_parallel") == len(OPTIONS)


def test_changed_global_and_closure_have_entries_of_their_own(monkeypatch, compilations):
    monkeypatch.setitem(globals(), "FACTOR", 2.0)

    def make(offset):
        return kernel(lambda x: x * FACTOR + offset)  # noqa: F821

    assert make(1.0)(3.0) == 7.0
    assert make(2.0)(3.0) == 8.0
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert make(1.0)(3.0) == 10.0
    assert len(compilations) == 3
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    assert make(1.0)(3.0) == 7.0
    assert len(compilations) == 3


def test_closure_over_an_object_is_compiled_but_not_kept():
    dtype = np.dtype("f8")  # neither a constant nor a kernel: what it is in another process, nothing says
    assert kernel(lambda x: np.full(1, x, dtype)[0] / 2)(1) == 0.5
    assert cache.info()["entries"] == 0


def test_kernel_without_source_file_is_compiled_but_not_kept(folder):
    namespace = {}
    exec("def typed_in(x): return x + 1.0", namespace)
    assert kernel(namespace["typed_in"])(1.0) == 2.0
    assert cache.info()["entries"] == 0


@pytest.mark.parametrize("make", [declare_add, lambda: kernel(add)])
def test_threads_racing_for_the_first_call_compile_once(make, compilations):
    compiled = make()
    barrier = threading.Barrier(8)
    values = np.ones((3, 3))

    def call(number):
        out = np.empty((3, 3))
        barrier.wait()
        compiled(values, number * values, out)
        return out[0, 0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [1.0 + number for number in range(8)]
    assert compilations.count("add") == 1


FORK = """
import os, threading, time
from fastcore._core.jit import kernel
import numba.core.event as event

@kernel
def late(x): return x + 1.0

@kernel
def slow(x): return x + 2.0

inside = threading.Event()
class Stop(event.Listener):
    def on_start(self, event):
        if event.data["dispatcher"] is slow:
            inside.set()
            time.sleep(0.3)
    def on_end(self, event): pass
event.register("numba:compile", Stop())
thread = threading.Thread(target=slow, args=(1.0,))
thread.start()
inside.wait()
child = os.fork()  # the other thread holds the compiler's lock
if child == 0:
    os._exit(int(late(1.0)) * 10 + int(slow(1.0)))
thread.join()
assert late(1.0) == 2.0
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_child_forked_during_a_compilation_can_compile(tmp_path):
    script = tmp_path / "fork.py"
    script.write_text(FORK)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("23\n", 0), done.stderr


def test_jit_disabled_returns_the_function():
    code = (
        "from fastcore._core.jit import kernel, registered_kernels\n"
        "def f(x): return x\n"
        "assert kernel(f) is f and kernel(signature='f8(f8)')(f) is f and kernel(parallel=True)(f) is f\n"
        "assert registered_kernels() == []"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_registered_kernels_are_named_compiled_and_found_cached(registry, compilations):
    declare_add()
    kernel(declared, signature=lambda: float64(float64))
    kernel(total)
    one, other = jit.registered_kernels()
    assert one.name == f"{__name__}.add[float64]"
    assert other.name == f"{__name__}.declared"
    assert not one.is_cached()
    one.compile()
    one.compile()
    assert one.is_cached()
    assert not other.is_cached()
    assert compilations == ["add"]


@pytest.fixture(params=["import", "constructor"])
def broken_hook(request, monkeypatch):
    """Another Numba: the private names are gone, or behave otherwise."""
    if request.param == "import":
        monkeypatch.setitem(sys.modules, "fastcore._core.dispatcher", None)
    else:
        from fastcore._core import dispatcher

        monkeypatch.delattr(dispatcher, "EntryCache")


def test_broken_hook_falls_back_to_njit(broken_hook, folder, registry):
    compiled = declare_add()
    values = np.ones((2, 2))
    out = np.empty((2, 2))
    compiled(values, np.asfortranarray(values), out)
    assert (out == 2).all()
    assert kernel(divide)(1.0, 0.0) == np.inf
    registry[0].compile()
    assert not registry[0].is_cached()
    assert cache.info()["entries"] == 0


@pytest.mark.parametrize("name", ["_rebuild", "_reduce"])
def test_broken_serialisation_compiles(name, monkeypatch, compilations):
    from fastcore._core import dispatcher

    def fail(*args):
        raise AttributeError("gone")

    kernel(divide)(1.0, 2.0)
    monkeypatch.setattr(dispatcher, name, fail)
    cache.clear() if name == "_reduce" else None
    assert kernel(divide)(1.0, 2.0) == 0.5
    assert compilations == ["divide", "divide"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: Path(cache.cache_folder(), key + cache.SUFFIX).write_bytes(b""),
        lambda key: Path(cache.cache_folder(), key + cache.SUFFIX).write_bytes(b"foreign" * 1000),
        # Right checksum, wrong content.
        lambda key: cache.store(key, b"no pickle"),
        lambda key: cache.store(key, pickle.dumps("another version's")),
        lambda key: cache.store(key, cache.load(key)[:-1000]),
    ],
)
def test_spoilt_entry_is_compiled_anew_and_rewritten(spoil, folder, compilations):
    kernel(divide)(1.0, 2.0)
    (entry,) = folder.glob("*" + cache.SUFFIX)
    spoil(entry.stem)
    assert [kernel(divide)(1.0, 2.0), kernel(divide)(1.0, 2.0)] == [0.5, 0.5]
    assert compilations == ["divide", "divide"]


def test_entry_with_an_unknown_symbol_is_a_miss(monkeypatch, compilations):
    """LLVM ends the process when it links to a symbol that does not exist."""
    from fastcore._core import dispatcher

    symbols = dispatcher._symbols
    monkeypatch.setattr(dispatcher, "_symbols", lambda library: (symbols(library)[0], ["no_such_symbol"]))
    kernel(divide)(1.0, 2.0)
    assert kernel(divide)(1.0, 2.0) == 0.5
    assert compilations == ["divide", "divide"]
