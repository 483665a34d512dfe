"""Files of KVCache: every format and mode comes back bit for bit; whatever is wrong with a file is one ValueError."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastcore.kvcache import KVCache, Rotary, persistence
from tests.kvcache.contiguous_model import FORMATS, draw


def filled(rng, tokens=11, **options):
    """A cache of two sequences, the second one shorter, in turned order."""
    cache = KVCache(2, 2, 9 if "window" in options else 16, 6, value_dim=5, **options)
    cache.append(*draw(rng, 2, 2, tokens, 6, 5), lengths=[tokens, 3])
    cache.reorder([1, 0])
    return cache


MODES = {
    "full": {},
    "ring": {"window": 4, "sinks": 2},
    "ring without slack": {"window": 7, "sinks": 2},
    "rotary": {"rotary": Rotary(base=500.0, interleaved=True, rotary_dim=4)},
    "scaled rotary": {"rotary": Rotary(scaling={"rope_type": "linear", "factor": 4.0}), "window": 5, "sinks": 1},
}


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tokens", [3, 9, 15])
def test_saved_cache_loads_and_goes_on_bit_for_bit(rng, tmp_path, dtype, mode, tokens):
    cache = filled(rng, tokens, dtype=dtype, **MODES[mode])
    cache.save(tmp_path / "cache.npz")
    loaded = KVCache.load(tmp_path / "cache.npz")
    assert repr(loaded) == repr(cache)
    for name in ("batch", "capacity", "dtype", "window", "sinks", "rotary", "nbytes"):
        assert getattr(loaded, name) == getattr(cache, name)
    for _ in range(2):
        key, value, query = *draw(rng, 2, 2, 1, 6, 5), *draw(rng, 2, 4, 1, 6)
        if tokens < 15 or cache.window is not None:
            np.testing.assert_array_equal(loaded.step(query, key, value), cache.step(query, key, value))
        np.testing.assert_array_equal(loaded.attend(query), cache.attend(query))
    if cache.window is not None:
        for x in (cache, loaded):
            x.truncate([3, cache.lengths[1]])
    np.testing.assert_array_equal(loaded.lengths, cache.lengths)


def test_saved_ring_remembers_how_far_it_goes_back(rng, tmp_path):
    cache = KVCache(1, 1, 9, 4, window=4, sinks=2)  # a slack of 3
    cache.append(*draw(rng, 1, 1, 30, 4, 4))
    cache.truncate(28)
    cache.save(tmp_path / "x")
    loaded = KVCache.load(tmp_path / "x")
    with pytest.raises(ValueError, match="go back further"):
        loaded.truncate(26)
    loaded.truncate(27)


def test_saved_empty_cache_loads(tmp_path):
    cache = KVCache(3, 1, 5, 4, dtype="int4")
    cache.save(tmp_path / "x")
    assert repr(KVCache.load(tmp_path / "x")) == repr(cache)


def test_save_writes_only_rows_in_use_as_npz(rng, tmp_path):
    cache = KVCache(2, 1, 100_000, 64)
    cache.append(*draw(rng, 2, 1, 5, 64, 64))
    path = str(tmp_path / "name without ending")
    cache.save(path)
    assert os.listdir(tmp_path) == ["name without ending"]
    assert os.path.getsize(path) < 16_000
    with np.load(path, allow_pickle=False) as entries:
        assert entries["keys.1"].shape == (1, 5, 64)
        assert json.loads(entries["header"].tobytes())["lengths"] == [5, 5]


def test_save_takes_any_path_and_follows_links(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = filled(rng)
    os.mkdir("folder")
    os.symlink("folder/target", "link")
    for path in ("plain", "folder/target", "link", b"bytes", Path("object")):
        cache.save(path)
        assert repr(KVCache.load(path)) == repr(cache)
    assert os.path.islink("link")
    assert sorted(os.listdir(".")) == ["bytes", "folder", "link", "object", "plain"]


def test_save_and_load_of_no_file_raise_what_the_system_says(rng, tmp_path):
    with pytest.raises(FileNotFoundError):
        KVCache.load(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        filled(rng).save(tmp_path / "missing" / "x")
    with pytest.raises(OSError, match="directory"):
        KVCache.load(tmp_path)
    for folder in (tmp_path, ""):
        with pytest.raises(IsADirectoryError, match=r"path must name a file\. Got a folder"):
            filled(rng).save(folder)
    assert os.listdir(tmp_path) == []
    with pytest.raises(TypeError):
        filled(rng).save(None)


def test_save_where_the_folder_cannot_be_opened_is_done(rng, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError("the folder may be written to, not read")

    cache = filled(rng)
    monkeypatch.setattr(os, "open", refuse)
    cache.save(tmp_path / "x")
    monkeypatch.undo()
    assert repr(KVCache.load(tmp_path / "x")) == repr(cache)


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt(), MemoryError()], ids=repr)
@pytest.mark.parametrize("step", ["savez", "fsync", "replace"])
def test_interrupted_save_leaves_the_old_file(rng, tmp_path, monkeypatch, step, error):
    path = tmp_path / "cache"
    old = filled(rng)
    old.save(path)
    content = path.read_bytes()

    def fail(file, *arguments, **entries):
        if step == "savez":
            file.write(b"half of it")
        raise error

    monkeypatch.setattr(persistence.np if step == "savez" else os, step, fail)
    with pytest.raises(type(error)):
        filled(rng, 15).save(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["cache"]
    assert path.read_bytes() == content


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(rng, tmp_path):
    """(path, bytes, cache) of a small saved cache."""
    cache, path = filled(rng, 5, dtype="int8"), tmp_path / "cache"
    cache.save(path)
    return path, path.read_bytes(), cache


def same(cache, other):
    rows, others = (dict(x._rows_in_use(x._lengths)) for x in (cache, other))
    return repr(cache) == repr(other) and all(np.array_equal(rows[name], others[name]) for name in rows)


def test_load_refuses_a_file_cut_short_anywhere(saved):
    path, content, _ = saved
    for length in [*range(0, len(content), 97), *range(len(content) - 40, len(content))]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"path must be an undamaged file that KVCache\.save wrote"):
            KVCache.load(path)


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_load_refuses_a_changed_byte_or_reads_the_same(saved, change):
    """A time stamp of the zip may change unseen; no number of the cache may."""
    path, content, cache = saved
    refused, offsets = 0, range(change % 7, len(content), 13)
    for offset in offsets:
        damaged = bytearray(content)
        damaged[offset] ^= change
        path.write_bytes(damaged)
        try:
            assert same(KVCache.load(path), cache)
        except ValueError as error:
            refused += "undamaged" in str(error)
    assert refused > 0.7 * len(offsets)


def rewrite(path, change, seal=True):
    """Change the entries of a file by a function of (header, arrays); `seal` makes the checksums right again."""
    with np.load(path) as file:
        entries = dict(file)
    header = json.loads(entries.pop("header").tobytes())
    digest = entries.pop("header_sha256")
    change(header, entries)
    if seal:
        arrays = entries
        header["sha256"] = {name: persistence._digest(x) for name, x in arrays.items()}
    text = json.dumps(header).encode()
    if seal:
        digest = np.frombuffer(persistence.hashlib.sha256(text).digest(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, header=np.frombuffer(text, np.uint8), header_sha256=digest, **entries)


def setting(*names, to):
    def change(header, arrays):
        for name in names[:-1]:
            header = header[name]
        header[names[-1]] = to

    return change


def array(name, make):
    def change(header, arrays):
        arrays[name] = make(arrays[name])

    return change


def without(name):
    return lambda header, arrays: arrays.pop(name)


# What a sealed file may claim and still be no cache.
LIES = {
    "length beyond capacity": setting("lengths", to=[3, 17]),
    "negative length": setting("lengths", to=[-1, 5]),
    "too few lengths": setting("lengths", to=[3]),
    "one length for all": setting("lengths", to=3),
    "NaN length": setting("lengths", to=[float("nan"), 5]),
    "real length": setting("lengths", to=[3.0, 5]),
    "true length": setting("lengths", to=[True, 5]),
    "length of text": setting("lengths", to="35"),
    "huge length": setting("lengths", to=[3, 1 << 70]),
    "other length": setting("lengths", to=[3, 6]),
    "start of a ring": setting("kept_from", to=[0, 1]),
    "other format": setting("format", to="another"),
    "newer version": setting("version", to=2),
    "no rotary": lambda header, arrays: header.pop("rotary"),
    "wrong rotary": setting("rotary", to={"base": -1.0}),
    "unknown rotary option": setting("rotary", to={"angle": 1.0}),
    "unknown argument": setting("arguments", "colour", to=1),
    "unknown dtype": setting("arguments", "dtype", to="int3"),
    "other dtype": setting("arguments", "dtype", to="float16"),
    "capacity beyond memory": setting("arguments", "capacity", to=1 << 62),
    "negative batch": setting("arguments", "batch", to=-1),
    "arguments of another kind": setting("arguments", to=[1, 2, 3]),
    "missing array": without("keys.1"),
    "array too many": lambda header, arrays: arrays.update({"keys.2": arrays["keys.1"]}),
    "shorter array": array("keys.1", lambda x: x[:, :-1]),
    "other heads": array("values.0", lambda x: x[:1]),
    "other dtype of an array": array("key_scales.0", lambda x: x.astype(np.float64)),
    "big-endian array": array("key_scales.0", lambda x: x.astype(">f4")),
    "fortran order": array("keys.1", np.asfortranarray),
    "objects": array("keys.1", lambda x: np.array([[["x"]]], object)),
}


@pytest.mark.parametrize("lie", LIES)
def test_load_refuses_what_is_no_cache_though_its_checksums_are_right(saved, lie, monkeypatch):
    path, _, _ = saved
    monkeypatch.setattr(persistence, "_digest", lambda x: "an object" if x.dtype == object else _digest(x))
    rewrite(path, LIES[lie])
    with pytest.raises(ValueError, match="path must be an undamaged file"):
        KVCache.load(path)


_digest = persistence._digest


@pytest.mark.parametrize("lie", ["length beyond capacity", "other format", "missing array"])
def test_load_refuses_wrong_checksums_of_the_header(saved, lie):
    path, _, _ = saved
    rewrite(path, LIES[lie], seal=False)
    with pytest.raises(ValueError, match=r"undamaged.*(checksum|does not hold)"):
        KVCache.load(path)


def test_load_refuses_a_changed_array_by_its_checksum(saved):
    path, _, _ = saved
    rewrite(path, array("keys.1", lambda x: x ^ 1), seal=False)
    with pytest.raises(ValueError, match=r"the checksum of keys.1 is wrong"):
        KVCache.load(path)


@pytest.mark.parametrize(
    "ring",
    [{"lengths": [30, 3], "kept_from": [2, 2]}, {"lengths": [30, 3], "kept_from": [27, 2]}, {"kept_from": [1, 2]}],
)
def test_load_refuses_a_ring_that_cannot_be(rng, tmp_path, ring):
    filled(rng, 30, window=4, sinks=2).save(tmp_path / "x")
    rewrite(tmp_path / "x", lambda header, arrays: header.update(ring))
    with pytest.raises(ValueError, match="undamaged"):
        KVCache.load(tmp_path / "x")


def foreign_files():
    class Trap:
        def __reduce__(self):
            return os.mkdir, ("unpickled",)

    objects, npz, plain, compressed, text = (io.BytesIO() for _ in range(5))
    np.save(objects, np.array([Trap()], object), allow_pickle=True)
    np.savez(npz, keys=np.zeros(3))
    np.save(plain, np.zeros(3))
    np.savez_compressed(compressed, header=np.zeros(9, np.uint8), header_sha256=np.zeros(32, np.uint8))
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("header.npy", "no array")
        archive.writestr("header_sha256.npy", pickle.dumps(Trap()))
    return {
        "empty": b"",
        "text": b"not a cache",
        "pickle": pickle.dumps(Trap()),
        "npy of objects": objects.getvalue(),
        "npy": plain.getvalue(),
        "another npz": npz.getvalue(),
        "compressed": compressed.getvalue(),
        "zip of others": text.getvalue(),
    }


@pytest.mark.parametrize("kind", foreign_files())
def test_load_refuses_foreign_files_and_unpickles_nothing(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(foreign_files()[kind])
    with pytest.raises(ValueError, match=r"path must be an undamaged file that KVCache.save wrote\. Got 'x': "):
        KVCache.load("x")
    assert os.listdir() == ["x"]


def test_load_passes_memory_error_on(saved, monkeypatch):
    path, _, _ = saved

    def fail(*arguments, **options):
        raise MemoryError("no room")

    monkeypatch.setattr(KVCache, "__init__", fail)
    with pytest.raises(MemoryError, match="no room"):
        KVCache.load(path)
