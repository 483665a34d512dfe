"""The folder of compiled kernels: what is found again, what is a miss, and what is never read."""

import json
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastcore
from fastcore._core import cache, jit

REPOSITORY = Path(__file__).parents[2]

# Reports a value and how many functions this process compiled; a kernel from the cache is not among them.
COUNTER = """
import json, sys
import numba.core.event
class Compilations(numba.core.event.Listener):
    count = 0
    def on_start(self, event): self.count += 1
    def on_end(self, event): pass
compilations = Compilations()
numba.core.event.register("numba:compile", compilations)
def report(value):
    print(json.dumps([value, compilations.count]))
"""

PACKAGE = {
    "__init__.py": "",
    "inner.py": """
from fastcore._core.jit import kernel

@kernel
def scale(x):
    return 2.0 * x
""",
    "outer.py": """
from numba import float64
from fastcore._core.jit import kernel
from probe_package.inner import scale

@kernel(signature=float64(float64))
def shift(x):
    return scale(x) + 1.0
""",
}
CALL = "from probe_package.outer import shift; report(shift(3.0))"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder, for this process and its children."""
    path = tmp_path / "cache"
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(path))
    return path


@pytest.fixture
def package(tmp_path):
    """A user's package with a kernel that calls one of another file."""
    path = tmp_path / "probe_package"
    path.mkdir()
    for name, text in PACKAGE.items():
        (path / name).write_text(text)
    return path


def run(code, path=(), **environment):
    """Run `code` in a new process; returns what it reported, a value and the number of compilations."""
    merged = {
        **os.environ,
        # No .pyc files: two edits of a source within one second would be confused by their time stamps.
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_DISABLE_JIT": "0",  # the suite also runs with it set
        "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, *path))),
        **environment,
    }
    command = [sys.executable, "-W", "error", "-c", COUNTER + code]
    done = subprocess.run(
        command, env={k: v for k, v in merged.items() if v is not None}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def entries(folder):
    return sorted(folder.glob("*" + cache.SUFFIX))


def test_load_stored_returns_it(folder):
    assert cache.load("key") is None
    assert cache.store("key", b"payload")
    assert cache.load("key") == b"payload"
    assert cache.store("key", b"")
    assert cache.load("key") == b""


def test_load_truncated_at_any_length_is_a_miss(folder):
    cache.store("key", b"a payload of some length")
    content = entries(folder)[0].read_bytes()
    for length in range(len(content)):
        entries(folder)[0].write_bytes(content[:length])
        assert cache.load("key") is None
    entries(folder)[0].write_bytes(content + b"\0")
    assert cache.load("key") is None


def test_load_any_byte_changed_is_a_miss(folder):
    cache.store("key", b"a payload of some length")
    content = bytearray(entries(folder)[0].read_bytes())
    for position in range(len(content)):
        changed = content.copy()
        changed[position] ^= 1
        entries(folder)[0].write_bytes(changed)
        assert cache.load("key") is None


def test_load_entry_of_another_key_is_a_miss(folder):
    cache.store("one", b"payload")
    os.rename(folder / ("one" + cache.SUFFIX), folder / ("two" + cache.SUFFIX))
    assert cache.load("two") is None


def test_load_folder_in_place_of_the_file_is_a_miss(folder):
    (cache.cache_folder() / ("key" + cache.SUFFIX)).mkdir()
    assert cache.load("key") is None
    assert not cache.store("key", b"payload")
    assert list(folder.glob("*.tmp")) == []


def test_info_counts_and_clear_empties(folder):
    assert cache.info() == {"entries": 0, "bytes": 0, "folder": str(folder), "enabled": True, "reason": ""}
    cache.store("one", b"payload")
    cache.store("two", b"payload")
    (folder / "left over.tmp").touch()
    (folder / "foreign").touch()
    info = cache.info()
    assert info["entries"] == 2
    assert info["bytes"] == sum(path.stat().st_size for path in entries(folder))
    assert cache.clear() == 3
    assert [path.name for path in folder.iterdir()] == ["foreign"]


def test_store_removes_what_killed_writers_left_an_hour_ago(folder):
    cache.store("key", b"payload")
    for name, age in [("killed.tmp", 2.0), ("being written.tmp", 0.5), ("foreign", 2.0)]:
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age * cache.HALF_WRITTEN_SECONDS,) * 2)
    cache.store("another", b"payload")
    assert not (folder / "killed.tmp").exists()
    assert (folder / "being written.tmp").exists()
    assert (folder / "foreign").exists()
    assert cache.contains("key")


def test_store_over_the_limit_removes_the_oldest(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT_BYTES", 3500)
    for age, key in [(30, "old"), (20, "older than new"), (10, "new")]:
        cache.store(key, bytes(1000))
        os.utime(folder / (key + cache.SUFFIX), (1e9 - age, 1e9 - age))
    cache.store("newest", bytes(1000))
    assert [cache.contains(key) for key in ("old", "older than new", "new", "newest")] == [False, True, True, True]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_folder_writable_by_others_is_refused(folder, mode):
    cache.store("key", b"payload")
    folder.chmod(mode)
    assert cache.cache_folder() is None
    assert cache.load("key") is None
    assert not cache.store("other", b"payload")
    assert cache.clear() == 0
    info = cache.info()
    assert (info["enabled"], info["folder"]) == (False, str(folder))
    assert "another user" in info["reason"]


@pytest.mark.skipif(os.name != "posix", reason="owners are POSIX")
def test_folder_of_another_user_is_refused(folder, monkeypatch):
    cache.store("key", b"payload")
    if os.geteuid() == 0:
        os.chown(folder, 12345, -1)
    else:
        monkeypatch.setattr(cache.os, "geteuid", lambda: 12345)
    assert cache.cache_folder() is None


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_file_writable_by_others_is_a_miss(folder):
    cache.store("key", b"payload")
    entries(folder)[0].chmod(0o666)
    assert cache.load("key") is None


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_folder_and_files_are_private(folder):
    cache.store("key", b"payload")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entries(folder)[0].stat().st_mode) == 0o600


def test_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.ENVIRONMENT_VARIABLE, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    wanted = {
        ("linux", "/tmp/xdg"): Path("/tmp/xdg/fastcore"),
        ("linux", "relative/is/invalid"): tmp_path / ".cache/fastcore",
        ("linux", ""): tmp_path / ".cache/fastcore",
        ("darwin", "/tmp/xdg"): tmp_path / "Library/Caches/fastcore",
    }
    for (platform, xdg), folder in wanted.items():
        monkeypatch.setattr(cache.sys, "platform", platform)
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        assert cache._wanted_folder() == folder
    monkeypatch.setattr(cache.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert cache._wanted_folder() == tmp_path / "Local" / "fastcore" / "cache"


def test_import_needs_no_numba():
    code = (
        "import sys; import fastcore._core.cache as c; c.info(); print('numba' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.split() == ["False", "False"]


def _hammer(number, rounds, results):
    """Store and load one key, over and over, with payloads a reader can tell from torn ones."""
    wrong = 0
    for i in range(rounds):
        cache.store("shared", bytes([number]) * (1000 + 37 * i % 5000))
        payload = cache.load("shared")
        # Never None either: once stored, a whole entry is always there.
        wrong += payload is None or len(set(payload)) != 1
    results.put(wrong)


def test_processes_storing_one_key_never_read_a_torn_entry(folder):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_hammer, args=(number, 1500, results)) for number in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [0, 0, 0]
    for process in processes:
        process.join()
    assert list(folder.glob("*.tmp")) == []


def test_warm_process_compiles_nothing_and_loads_no_registries(folder, package):
    assert run(CALL, [package.parent]) == [7.0, 2]
    # numba.np.arraymath is one of the modules that Numba loads before it compiles.
    code = CALL.replace("shift(3.0)", "[shift(3.0), 'numba.np.arraymath' in sys.modules]")
    assert run(code, [package.parent]) == [[7.0, False], 0]


def test_edited_callee_in_another_file_is_seen(folder, package):
    run(CALL, [package.parent])
    inner = package / "inner.py"
    inner.write_text(inner.read_text().replace("2.0", "5.0"))
    assert run(CALL, [package.parent]) == [16.0, 2]
    inner.write_text(inner.read_text().replace("5.0", "2.0"))
    assert run(CALL, [package.parent]) == [7.0, 0]


def test_edited_callee_outside_the_package_is_seen(folder, package):
    """A kernel of another folder: no source of the package changes."""
    elsewhere = package.parent / "elsewhere"
    elsewhere.mkdir()
    (package / "inner.py").rename(elsewhere / "inner.py")
    outer = package / "outer.py"
    outer.write_text(outer.read_text().replace("probe_package.inner", "inner"))
    path = [package.parent, elsewhere]
    assert run(CALL, path) == [7.0, 2]
    (elsewhere / "inner.py").write_text(PACKAGE["inner.py"].replace("2.0", "5.0"))
    assert run(CALL, path) == [16.0, 2]


def test_source_edited_after_import_is_not_kept(folder, package):
    """What is compiled is the old source, while its digest would be the new one's."""
    edit = f"import pathlib; pathlib.Path({str(package / 'inner.py')!r}).write_text('')"
    code = CALL.replace("report", f"{edit}; report")
    assert run(code, [package.parent]) == [7.0, 2]
    assert entries(folder) == []


def test_edited_neighbour_of_a_script_is_seen(folder, tmp_path):
    """An intrinsic is no kernel: nothing but the digest of the folder tells that it has changed."""
    script, helper = tmp_path / "script.py", tmp_path / "helper.py"
    helper.write_text(
        "from numba import float64\nfrom numba.extending import intrinsic\n\n@intrinsic\ndef factor(context):\n"
        "    return float64(), lambda context, builder, signature, args: context.get_constant(float64, 2.0)\n"
    )
    script.write_text(
        "from fastcore._core.jit import kernel\nfrom helper import factor\n\n@kernel\ndef scale(x):\n"
        "    return factor() * x\n"
    )
    call = "from script import scale; report(scale(3.0))"
    assert [run(call, [tmp_path]), run(call, [tmp_path])] == [[6.0, 1], [6.0, 0]]
    helper.write_text(helper.read_text().replace("2.0", "5.0"))
    assert run(call, [tmp_path]) == [15.0, 1]


def test_cpu_settings_have_entries_of_their_own(folder, package):
    run(CALL, [package.parent])
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert run(CALL, [package.parent], **generic) == [7.0, 2]
    assert run(CALL, [package.parent], **generic) == [7.0, 0]
    assert run(CALL, [package.parent]) == [7.0, 0]


@pytest.mark.parametrize(
    "environment",
    [
        {cache.ENVIRONMENT_VARIABLE: "/proc/nobody/cache"},
        {cache.ENVIRONMENT_VARIABLE: __file__},  # a file in place of the folder
        {cache.ENVIRONMENT_VARIABLE: None, "XDG_CACHE_HOME": None, "HOME": "/proc/nobody"},
    ],
)
def test_unwritable_folder_is_silent(package, environment):
    assert run(CALL, [package.parent], **environment) == [7.0, 2]


def test_install_folder_is_never_written(folder, package):
    run(CALL, [package.parent])
    assert sorted(path.name for path in package.iterdir()) == sorted(PACKAGE)


# Forks rather than starts processes: Numba is loaded once, and a round takes 0.3 s.
RACE = """
import os
from fastcore._core import cache, jit
from fastcore._core.jit import kernel
from probe_package import inner, outer
import numba
numba.njit(lambda: 0)()  # registries, once
wrong = 0
for i in range(12):
    cache.clear()
    children = []
    for j in range(3):
        child = os.fork()
        if child == 0:
            os._exit(0 if (outer.shift(3.0), inner.scale(2.0)) == (7.0, 4.0) else 1)
        children.append(child)
    wrong += sum(os.waitpid(child, 0)[1] != 0 for child in children)
report([wrong, cache.info()["entries"]])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_processes_filling_the_cache_at_once_get_right_results(folder, package):
    assert run(RACE, [package.parent])[0] == [0, 2]


FACTORY = f"""
import math
from fastcore._core.jit import kernel

def make(factor):
    @kernel
    def grow(x):  # too long to be inlined into `twice`, so `twice` is linked to its symbol
        {"x = math.sin(x) + math.cos(x) * math.exp(-x) + math.atan(x);" * 20}
        return factor + 1e-9 * x

    @kernel
    def twice(x):
        return round(grow(x) + grow(x + 1.0))
    return twice
"""


def test_entries_of_two_processes_for_one_name_do_not_mix(folder, tmp_path):
    """The two `grow` get one symbol unless Numba's numbers start apart; the last process then answers 4 twice."""
    (tmp_path / "factory.py").write_text(FACTORY)

    def call(factors):
        code = f"import factory; report([factory.make(factor)(1.0) for factor in {factors}])"
        # Fixed: the order of the set of fastmath flags is part of the symbols too.
        return run(code, [tmp_path], PYTHONHASHSEED="0")

    assert call([2.0])[0] == [4]
    assert call([3.0])[0] == [6]
    assert call([2.0, 3.0]) == [[4, 6], 0]


def test_kernels_that_hand_on_tuples_of_kernels_are_kept():
    """Attention's bodies do, and were compiled anew, for 7 s, by every process."""
    ones = np.ones((1, 1, 1, 1), np.float32)
    fastcore.scaled_dot_product_attention(ones, ones, ones)
    name = "fastcore.attention.kernels.forward.attend_float32[float32]"
    (body,) = [each for each in jit.registered_kernels() if each.name == name]
    assert body.is_cached()
