"""Files of caches: NumPy's npz with a header and checksums, written so that no crash leaves half of one."""

import contextlib
import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import IO, Any

import numpy as np

from fastcore._core import validate_cache

MAGIC = "fastcore.KVCache"
VERSION = 1
HEADER, HEADER_DIGEST = "header", "header_sha256"  # entries beside the arrays


# --- writing ----------------------------------------------------------------------------------------------------------


def write_archive(
    path: str | bytes | PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a JSON header and arrays under a temporary name, flush to disk, rename.

    Until the rename a file of that name stays what it was; whatever fails, the temporary one is removed.
    """
    path = os.path.realpath(os.fsdecode(path))  # of a link the target is replaced
    validate_cache.no_folder(path)
    described = {**header, "format": MAGIC, "version": VERSION, "sha256": {n: _digest(x) for n, x in arrays.items()}}
    text = json.dumps(described).encode()
    entries = {HEADER: text, HEADER_DIGEST: hashlib.sha256(text).digest()}
    members: dict[str, Any] = {name: np.frombuffer(entry, np.uint8) for name, entry in entries.items()}
    members |= arrays
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            np.savez(file, **members)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _flush_folder(os.path.dirname(path))


def _flush_folder(folder: str) -> None:
    """Have the rename itself on disk, where folders can be opened (not on Windows, nor without the right to read).

    The file is there whether or not this works, so failing would say what is not true.
    """
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _digest(array: np.ndarray) -> str:
    """Of the bytes in C order; a head's rows are contiguous, so nothing is copied."""
    checksum = hashlib.sha256()
    for rows in array:
        checksum.update(np.ascontiguousarray(rows).data)
    return checksum.hexdigest()


# --- reading ----------------------------------------------------------------------------------------------------------


class Archive:
    """An open file of `write_archive`, its header checked. Arrays are checked as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file)
        entries = {HEADER, HEADER_DIGEST}
        self._entries = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        if not entries <= set(self._entries):
            raise ValueError("it has no header of a KVCache")
        text = self._array(HEADER, None, np.dtype(np.uint8)).tobytes()
        digest = self._array(HEADER_DIGEST, (32,), np.dtype(np.uint8)).tobytes()
        if hashlib.sha256(text).digest() != digest:
            raise ValueError("the checksum of the header is wrong")
        self.header: dict[str, Any] = json.loads(text)
        if (self.header["format"], self.header["version"]) != (MAGIC, VERSION):
            raise ValueError(f"its format is {self.header['format']}, version {self.header['version']}")
        if set(self._entries) != entries | set(self.header["sha256"]):
            raise ValueError("it does not hold the arrays that its header names")

    def read_into(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Fill arrays from the entries of these names, which must be all there are, of the same shapes and dtypes."""
        if set(arrays) != set(self.header["sha256"]):
            raise ValueError("it holds other arrays than its lengths call for")
        for name, array in arrays.items():
            stored = self._array(name, array.shape, array.dtype)
            if _digest(stored) != self.header["sha256"][name]:
                raise ValueError(f"the checksum of {name} is wrong")
            array[...] = stored

    def _array(self, name: str, shape: tuple[int, ...] | None, dtype: np.dtype) -> np.ndarray:
        """An entry whose own header agrees before a byte of memory is taken for it; `shape` None: any of one axis."""
        info = self._entries[name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"{name} is compressed or encrypted")
        with self._zip.open(info) as entry:
            if np.lib.format.read_magic(entry) != (1, 0):
                raise ValueError(f"{name} is no array of version 1.0")
            stored, is_fortran, kind = np.lib.format.read_array_header_1_0(entry)
            if kind != dtype or is_fortran or (len(stored) != 1 if shape is None else stored != shape):
                raise ValueError(f"{name} is {kind} {stored}, not {dtype} {shape or '(bytes,)'}")
            memory = entry.read()  # to the end, where zipfile compares its own checksum
        return np.frombuffer(memory, dtype).reshape(stored)


@contextlib.contextmanager
def reading(path: str | bytes | PathLike[str]) -> Iterator[Archive]:
    """Open a file of `write_archive`; whatever goes wrong with its contents inside the block is one ValueError."""
    with open(path, "rb") as file:
        try:
            yield Archive(file)
        except MemoryError:
            raise
        # A damaged zip raises BadZipFile, EOFError, OSError, struct.error, NotImplementedError and more.
        except Exception as error:
            validate_cache.refuse_file(path, error, error)
