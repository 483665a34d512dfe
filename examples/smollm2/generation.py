"""Greedy decoding: one sequence, or a batch that sequences join and leave."""

import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from examples.smollm2.caches import Batch, Cached, Uncached
from examples.smollm2.model import Model

# Prompts are read in chunks of so many tokens, which bounds the memory of a pass: 6 MB for gate and up of 512 tokens.
CHUNK = 512


class Answer(NamedTuple):
    """What came of one prompt of a batch."""

    index: int
    tokens: list[int]


@dataclass
class Running:
    """A sequence in a batch. `pending` are its tokens that the model has not read yet."""

    index: int
    sequence: int
    pending: list[int]
    generated: list[int] = field(default_factory=list)


@dataclass
class Spent:
    """Tokens and seconds of the steps of a batch: those that read prompts, in which others may write, and the rest."""

    read: int = 0
    reading: float = 0.0
    written: int = 0
    writing: float = 0.0

    def add(self, read: int, written: int, seconds: float) -> None:
        """Count a step."""
        if read:
            self.read += read
            self.reading += seconds
        else:
            self.written += written
            self.writing += seconds


def generate(
    model: Model,
    cache: Cached | Uncached,
    prompt: Sequence[int],
    max_tokens: int,
    stop: Collection[int] = (),
    chunk: int = CHUNK,
) -> Iterator[int]:
    """The most probable token, again and again, until one of `stop`, which does not come out, or `max_tokens`.

    Parameters
    ----------
    cache : Cached or Uncached, with earlier tokens or none
    prompt : token numbers, at least one
    """
    tokens = list(prompt)
    while len(tokens) > chunk:
        cache.feed(tokens[:chunk])
        tokens = tokens[chunk:]
    for _ in range(max_tokens):
        token = int(model.logits(cache.feed(tokens)[-1:]).argmax())
        if token in stop:
            return
        yield token
        tokens = [token]


def generate_batch(
    model: Model,
    batch: Batch,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    stop: Collection[int] = (),
    at_once: int = 8,
    chunk: int = CHUNK,
    spent: Spent | None = None,
) -> Iterator[Answer]:
    """Greedy answers to all prompts, each as soon as it is complete.

    Up to `at_once` sequences are in the batch; where one leaves, the next prompt joins. A step reads `chunk` tokens at
    most: the newest one of each sequence that writes, and of prompts what fits, so that a long prompt holds up nobody.
    `spent` counts the steps.
    """
    spent = spent or Spent()
    waiting = deque(enumerate(prompts))
    running: list[Running] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            index, prompt = waiting.popleft()
            running.append(Running(index, batch.allocate(), list(prompt)))
        before, unread = time.perf_counter(), unread_tokens(running)
        writing = advance(model, batch, running, chunk)
        spent.add(unread - unread_tokens(running), len(writing), time.perf_counter() - before)
        for each in writing:
            token = each.generated[-1]
            if token in stop:
                each.generated.pop()
            if token in stop or len(each.generated) == max_tokens:
                batch.free(each.sequence)
                running.remove(each)
                yield Answer(each.index, each.generated)


def unread_tokens(running: Sequence[Running]) -> int:
    """Tokens of prompts that the model has not read yet."""
    return sum(len(each.pending) for each in running if not each.generated)


def advance(model: Model, batch: Batch, running: Sequence[Running], chunk: int) -> list[Running]:
    """One step of the model: those that got a token from it."""
    shares = share_out([len(each.pending) for each in running], chunk)
    taking = [(each, share) for each, share in zip(running, shares) if share > 0]
    hidden = batch.feed([each.sequence for each, _ in taking], [each.pending[:share] for each, share in taking])
    ends = np.cumsum([share for _, share in taking])
    complete = [share == len(each.pending) for each, share in taking]
    best = model.logits(hidden[ends[complete] - 1]).argmax(axis=1)
    for each, share in taking:
        del each.pending[:share]
    writing = [each for (each, _), whole in zip(taking, complete) if whole]
    for each, token in zip(writing, best):
        each.generated.append(int(token))
        each.pending.append(int(token))
    return writing


def share_out(pending: Sequence[int], chunk: int) -> list[int]:
    """How many tokens of each sequence to read next, `chunk` in all: the smallest demands first."""
    shares = [0] * len(pending)
    left = chunk
    for i in sorted(range(len(pending)), key=pending.__getitem__):
        shares[i] = min(pending[i], left)
        left -= shares[i]
    return shares


def pages_for(lengths: Sequence[int], at_once: int, page_size: int) -> int:
    """Pages that hold any `at_once` sequences of these lengths in tokens."""
    needs = sorted((-(-length // page_size) for length in lengths), reverse=True)
    return sum(needs[:at_once])
