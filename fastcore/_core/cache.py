"""The folder of compiled kernels: one checksummed file an entry, addressed by content.

Standard library only, so that ``python -m fastcore cache`` works without importing Numba. What goes into a key is in
:mod:`fastcore._core.cache_key`, how a payload becomes a kernel again in :mod:`fastcore._core.dispatcher`.

Loading an entry unpickles it and runs its machine code. A folder or a file that anybody but this user (or root) could
have written is therefore refused. A refused, missing or unwritable folder only means that kernels are compiled anew.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT_VARIABLE = "FASTCORE_CACHE_DIR"
SUFFIX = ".kernel"
HALF_WRITTEN_SUFFIX = ".tmp"
# Every edit of the package leaves the entries of its predecessor behind; the oldest go when the folder outgrows this.
LIMIT_BYTES = 512 * 2**20
# Writing an entry takes milliseconds: one this old and not in place was left by a writer that was killed.
HALF_WRITTEN_SECONDS = 3600.0

_MAGIC = b"fastcore kernel cache 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER_BYTES = len(_MAGIC) + _DIGEST_BYTES


def cache_folder() -> Path | None:
    """Folder of the entries, created if need be.

    Returns
    -------
    Path, or None where no folder can be used: no home, not creatable, or not safe to load code from.
    """
    return _usable_folder()[0]


def load(key: str) -> bytes | None:
    """Payload stored under `key`; None if there is none that is whole, ours and safe."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        with open(folder / (key + SUFFIX), "rb") as file:
            # The open file is checked, not its name: between a check of the name and the read another could appear.
            if _writable_by_others(os.fstat(file.fileno())):
                return None
            content = file.read()
    except OSError:
        return None
    payload = content[_HEADER_BYTES:]
    return payload if content[:_HEADER_BYTES] == _header(key, payload) else None


def store(key: str, payload: bytes) -> bool:
    """Write `payload` under `key`. Readers see the old file or the new one, never a part. False if not possible."""
    folder = cache_folder()
    if folder is None:
        return False
    temporary = None
    try:
        _prune(folder, LIMIT_BYTES - len(payload))
        descriptor, temporary = tempfile.mkstemp(prefix=key[:40], suffix=HALF_WRITTEN_SUFFIX, dir=folder)  # mode 0600
        with open(descriptor, "wb") as file:
            file.write(_header(key, payload))
            file.write(payload)
        os.replace(temporary, folder / (key + SUFFIX))
    except OSError:
        if temporary is not None:
            _remove(Path(temporary))
        return False
    return True


def contains(key: str) -> bool:
    """Whether an entry of that key can be loaded."""
    return load(key) is not None


def info() -> dict[str, object]:
    """State of the cache.

    Returns
    -------
    dict with `entries`, `bytes`, `folder` (str), `enabled` and `reason` (why it is disabled, else an empty string).
    """
    folder, reason = _usable_folder()
    sizes = [entry.st_size for _, entry in _files(folder)] if folder else []
    shown = folder or _wanted_folder()
    return {
        "entries": len(sizes),
        "bytes": sum(sizes),
        "folder": "" if shown is None else str(shown),
        "enabled": folder is not None,
        "reason": reason,
    }


def clear() -> int:
    """Delete all entries, also half-written ones of killed processes. Returns how many files went."""
    folder = cache_folder()
    if folder is None:
        return 0
    return sum(_remove(path) for suffix in (SUFFIX, HALF_WRITTEN_SUFFIX) for path, _ in list(_files(folder, suffix)))


def _header(key: str, payload: bytes) -> bytes:
    # The key is under the checksum too, so a file that was renamed to another key's name is a miss.
    checksum = hashlib.sha256(key.encode())
    checksum.update(payload)
    return _MAGIC + checksum.digest()


def _wanted_folder() -> Path | None:
    """Where the entries should be, after the environment and the habits of the platform."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return Path(local) / "fastcore" / "cache" if local else Path.home() / "AppData/Local/fastcore/cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "fastcore"
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        # The XDG rule: a relative path is invalid and to be ignored.
        return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "fastcore"
    except (RuntimeError, OSError):  # no home, or no working folder
        return None


def _usable_folder() -> tuple[Path | None, str]:
    folder = _wanted_folder()
    if folder is None:
        return None, "there is no home folder"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        return None, f"cannot create or read it: {error.strerror}"
    if _writable_by_others(status):
        return None, "another user owns it or may write into it; entries are code, so it is not used"
    return folder, ""


def _writable_by_others(status: os.stat_result) -> bool:
    """Whether somebody besides this user and root could have put content there."""
    if os.name != "posix":  # Windows: the default folder is the user's own by its access list
        return False
    return status.st_uid not in (os.geteuid(), 0) or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _files(folder: Path, suffix: str = SUFFIX) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    try:
                        yield Path(entry.path), entry.stat()
                    except OSError:  # another process removed it
                        continue
    except OSError:
        return


def _prune(folder: Path, limit: int) -> None:
    """Remove what killed writers left, then the oldest entries until the rest fits `limit` bytes."""
    for path, status in list(_files(folder, HALF_WRITTEN_SUFFIX)):
        if time.time() - status.st_mtime > HALF_WRITTEN_SECONDS:
            _remove(path)
    files = sorted(_files(folder), key=lambda item: item[1].st_mtime)
    excess = sum(status.st_size for _, status in files) - limit
    for path, status in files:
        if excess <= 0:
            return
        _remove(path)
        excess -= status.st_size


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:  # already gone, or in use on Windows
        return False
    return True
