"""Prefill of two models inside transformers: ours is `attn_implementation="fastcore"`, all else is PyTorch's.

MiniLM, of `examples/sentence_embeddings.py`, embeds sentences of 64 to 256 tokens; SmolLM2-135M, of
`examples/generate.py`, reads a prompt. Where weights or packages are not installed the cases say so.
"""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases import generate, sentence_embeddings
from benchmarks.peers import generate_transformers, require, sentence_embeddings_torch
from benchmarks.registry import Case, Factory, Side

SHORTEST, LONGEST = 64, 256


def with_fastcore(prepare: Any, data: Any) -> Side:
    """The peer's own model, with our attention."""
    require("transformers")
    require("fastcore.integrations.transformers").register()
    return prepare(data, attention="fastcore")


def sides(prepare: Any) -> tuple[Factory, dict[str, Factory]]:
    """Ours and the peers."""
    peers: dict[str, Factory] = {f"transformers {name}": partial(prepare, attention=name) for name in ("sdpa", "eager")}
    return partial(with_fastcore, prepare), peers


def make_sentences(count: int) -> sentence_embeddings.Input:
    """Pieces of the shipped text between [CLS] and [SEP], of lengths evenly spread."""
    encoder, weights = sentence_embeddings.model()
    shipped = encoder.tokenize(sentence_embeddings.read_sentences(sentence_embeddings.SENTENCES))
    first, last = shipped[0][0], shipped[0][-1]
    text = np.concatenate([sentence[1:-1] for sentence in shipped])
    lengths = token_counts(count)
    starts = np.random.default_rng(count).integers(0, len(text), count)
    pieces = [np.resize(np.roll(text, -start), length - 2) for start, length in zip(starts, lengths)]
    tokens = [np.array([first, *piece, last]) for piece in pieces]
    return sentence_embeddings.Input(tokens, sentence_embeddings.SIZES, weights)


def token_counts(sentences: int) -> np.ndarray:
    return np.linspace(SHORTEST, LONGEST, sentences).astype(int)


def minilm(sentences: int) -> Case:
    counts, sizes = token_counts(sentences), sentence_embeddings.SIZES
    ours, peers = sides(sentence_embeddings_torch.prepare)
    weights = sizes.layers * (4 * sizes.hidden**2 + 2 * sizes.hidden * sizes.intermediate)
    return Case(
        name=f"transformers/prefill/f32/MiniLM-N{sentences}-L{LONGEST}",
        group="transformers MiniLM float32",
        sizes={"N": sentences, "L": LONGEST, "E": sizes.hidden, "H": sizes.heads},
        dtype="float32",
        make=partial(make_sentences, sentences),
        ours=ours,
        naive=sentence_embeddings.naive,
        check=sentence_embeddings.check,
        flops=sentence_embeddings.flops(counts),
        bytes_moved=4.0 * (weights + sizes.hidden * (int(counts.sum()) + sentences)),
        tolerance=1e-5,
        peers=peers,
    )


def smollm2(tokens: int) -> Case:
    """All of a prompt at once, up to the logits behind its last token."""
    whole = generate.case(generate.Task(S=tokens, L=tokens))
    ours, peers = sides(generate_transformers.prepare)
    return Case(
        name=f"transformers/prefill/f32/SmolLM2-L{tokens}",
        group="transformers SmolLM2 float32",
        sizes=whole.sizes,
        dtype="float32",
        make=whole.make,
        ours=ours,
        naive=generate.naive,
        check=generate.check,
        flops=whole.flops,
        bytes_moved=whole.bytes_moved,
        tolerance=generate.TOLERANCE,
        peers=peers,
    )


def cases() -> list[Case]:
    return [minilm(32), smollm2(512), smollm2(2048)]
