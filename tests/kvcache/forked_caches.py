"""Forks of a process whose caches are in use. Run by test_locking.py, one case a process; prints what the child saw.

A hang ends by SIGALRM, in parent and child alike.
"""

import os
import signal
import sys
import threading
import traceback

import numpy as np

from fastcore.kvcache import KVCache, PagedKVCache, locking
from fastcore.kvcache.attend import Reader
from fastcore.kvcache.storage import Storage

ONE = np.ones((1, 1, 1, 4), np.float32)


def in_child(look):
    """What `look` returns in a forked child, as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            os.write(writer, str(look()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        text = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return text


def result_of(call):
    try:
        return call()
    except RuntimeError as error:
        return str(error).split(",")[0]


class Paused:
    """A method of a class that says when it is reached, and then waits. `after` runs it first."""

    def __init__(self, kind, name, after=False):
        self.reached, self.go_on = threading.Event(), threading.Event()
        original = getattr(kind, name)

        def method(*arguments, **options):
            if after:
                original(*arguments, **options)
            self.reached.set()
            self.go_on.wait(60)
            if not after:
                original(*arguments, **options)

        setattr(kind, name, method)
        self.undo = lambda: setattr(kind, name, original)

    def start(self, call):
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        self.reached.wait(60)
        return thread


def ring():
    """A fork while a thread has overwritten rows that the window shows: it waits until the lengths say so."""
    cache = KVCache(1, 1, 4, 4, window=3, sinks=1)
    for i in range(4):
        cache.append(ONE, ONE * i)
    paused = Paused(Storage, "write_arrays", after=True)
    thread = paused.start(lambda: cache.append(ONE, ONE * 4))
    paused.undo()
    threading.Timer(0.3, paused.go_on.set).start()
    text = in_child(lambda: (cache.lengths.tolist(), float(cache.step(ONE, ONE, ONE * 9)[0, 0, 0, 0])))
    thread.join(60)
    assert cache.lengths.tolist() == [5]
    print(text)


def impatient():
    """A call that does not end: the fork goes on, and the child's cache refuses instead of hanging."""
    locking.PATIENCE = 0.2
    cache, other = KVCache(1, 1, 4, 4), PagedKVCache(2, 4, 1, 4)
    cache.append(ONE, ONE)
    paused = Paused(Reader, "attend")
    thread = paused.start(lambda: cache.attend(ONE))
    paused.undo()
    text = in_child(lambda: (result_of(lambda: cache.attend(ONE)), other.allocate(), KVCache(1, 1, 1, 4).batch))
    paused.go_on.set()
    thread.join(60)
    assert cache.attend(ONE).tolist() == ONE.tolist()
    print(text)


def inside():
    """A fork from the middle of a call, as a signal handler may: it waits for nobody, and its call ends in both."""
    cache, used, idle = KVCache(1, 1, 4, 4), PagedKVCache(2, 4, 1, 4), PagedKVCache(2, 4, 1, 4)
    cache.append(ONE, ONE)
    sequence = used.allocate()
    used.append([sequence], [ONE[0]], [ONE[0]])
    paused = Paused(Reader, "attend")
    thread = paused.start(lambda: used.attend([sequence], [ONE[0]]))
    paused.undo()
    attend, parent, seen = Reader.attend, os.getpid(), []

    def fork_and_attend(*arguments, **options):
        Reader.attend = attend
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            seen.extend([writer, result_of(cache.reset), result_of(used.allocate), idle.allocate()])
        else:
            os.close(writer)
            seen.extend([reader, child])
        attend(*arguments, **options)

    Reader.attend = fork_and_attend
    result = cache.attend(ONE).tolist()
    if os.getpid() != parent:
        cache.reset()
        os.write(seen[0], str((*seen[1:], result, cache.lengths.tolist())).encode())
        os._exit(0)
    with open(seen[0], encoding="utf-8") as answer:
        text = answer.read()
    assert os.waitpid(seen[1], 0)[1] == 0
    paused.go_on.set()
    thread.join(60)
    assert used.length(sequence) == cache.lengths[0] == 1
    print(text)


def busy():
    """Forks from two threads beside transfers in opposite directions and caches that come and go."""
    caches = [PagedKVCache(4, 2, 1, 4) for _ in range(2)]
    ends = threading.Event()

    def transfer(number):
        sequence, here = caches[number].allocate(), number
        while not ends.is_set():
            sequence, here = caches[here].transfer(sequence, caches[1 - here]), 1 - here

    def make():
        while not ends.is_set():
            KVCache(1, 1, 1, 4).reset()

    seen = set()

    def fork():
        for _ in range(20):
            seen.add(in_child(lambda: sum(len(cache.sequences) for cache in caches)))

    threads = [threading.Thread(target=call, daemon=True) for call in (lambda: transfer(0), lambda: transfer(1), make)]
    forks = [threading.Thread(target=fork, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    while sum(len(cache.sequences) for cache in caches) < 2:
        pass
    for thread in forks:
        thread.start()
    for thread in forks:
        thread.join()
    ends.set()
    print(sorted(seen))


if __name__ == "__main__":
    signal.alarm(100)
    {"ring": ring, "impatient": impatient, "inside": inside, "busy": busy}[sys.argv[1]]()
