"""The encoder of `examples/sentence_embeddings.py`, MiniLM with its real weights, from token numbers to embeddings.

Sentences have log-normal lengths, 18 tokens in the median and 128 at most, and are cut out of the shipped text. Every
side gets them tokenised; the sides that pad also sorted by length and padded, in batches of 8, 16 or 32, whichever is
the fastest for them. Where the package with the weights is not installed the cases say so.

Axes: N sentences, B of them in a batch, L tokens, E hidden size, H heads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from scipy.special import erf

from benchmarks.cases.attention import additive, naive_attention
from benchmarks.peers import fastest, sentence_embeddings_onnxruntime, sentence_embeddings_torch
from benchmarks.registry import Case, Check, Factory, Side, Unavailable
from examples.sentence_embeddings import SENTENCES, Config, Encoder, model_folder, read_sentences

PEERS: dict[str, Factory] = {
    "torch": partial(sentence_embeddings_torch.prepare, attention="eager"),
    "torch sdpa": partial(sentence_embeddings_torch.prepare, attention="sdpa"),
    "onnxruntime": sentence_embeddings_onnxruntime.prepare,
}
MEDIAN_TOKENS, SPREAD, FEWEST, MOST = 18, 0.6, 5, 128
SIZES = Config(layers=6, heads=12, hidden=384, intermediate=1536, epsilon=1e-12, max_tokens=256)
CHECKED = 8  # sentences judged, of all lengths
BATCHES = (8, 16, 32)  # all 256 at once, padded to the longest, took torch five times as long as any of these


@dataclass(frozen=True)
class Padded:
    """A batch of sentences as most libraries take it: (B, L) words, 0 behind each sentence's end."""

    sentences: np.ndarray
    words: np.ndarray
    lengths: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        return np.arange(self.words.shape[1]) < self.lengths[:, None]


@dataclass(frozen=True)
class Input:
    """Token numbers of each sentence, and the model."""

    tokens: list[np.ndarray]
    config: Config
    weights: Mapping[str, np.ndarray]

    def batches(self, size: int) -> list[Padded]:
        """All sentences, sorted by length, `size` at a time."""
        order = np.argsort([len(sentence) for sentence in self.tokens], kind="stable")
        return [pad(order[first : first + size], self.tokens) for first in range(0, len(order), size)]

    def fastest(self, prepare: Callable[[list[Padded]], Side]) -> Side:
        """The best of several sizes of batches: small ones pad less, large ones make fewer calls."""
        return fastest({f"batches of {size}": partial(prepare, self.batches(size)) for size in BATCHES})


def pad(sentences: np.ndarray, tokens: list[np.ndarray]) -> Padded:
    lengths = np.array([len(tokens[i]) for i in sentences])
    words = np.zeros((len(sentences), lengths.max()), np.int64)
    for row, i in zip(words, sentences):
        row[: len(tokens[i])] = tokens[i]
    return Padded(sentences, words, lengths)


def token_counts(sentences: int) -> np.ndarray:
    random = np.random.default_rng(sentences)
    counts = np.exp(random.normal(np.log(MEDIAN_TOKENS), SPREAD, sentences)).round()
    return np.clip(counts, FEWEST, MOST).astype(int)


@cache
def model() -> tuple[Encoder, Mapping[str, np.ndarray]]:
    try:
        encoder = Encoder.load()
    except ModuleNotFoundError as error:
        raise Unavailable(str(error)) from None
    from safetensors.numpy import load_file

    return encoder, load_file(model_folder() / "model.safetensors")


def make(sentences: int) -> Input:
    """Between the first and the last token of each sentence, [CLS] and [SEP], a piece of the shipped text."""
    encoder, weights = model()
    shipped = encoder.tokenize(read_sentences(SENTENCES))
    first, last = shipped[0][0], shipped[0][-1]
    text = np.concatenate([sentence[1:-1] for sentence in shipped])
    random = np.random.default_rng(sentences)
    counts = token_counts(sentences)
    starts = random.integers(0, len(text) - MOST, sentences)
    pieces = [text[start : start + count - 2] for start, count in zip(starts, counts)]
    return Input([np.array([first, *piece, last]) for piece in pieces], SIZES, weights)


def ours(data: Input) -> Side:
    encoder, _ = model()
    return Side(partial(encoder.encode_tokens, data.tokens), np.asarray)


def naive(data: Input) -> Side:
    """The textbook in NumPy, on padded batches."""
    return data.fastest(lambda batches: in_turn(batches, partial(plain_encode, data.config, data.weights)))


def in_turn(batches: list[Padded], encode: Callable[[Padded], np.ndarray]) -> Side:
    """Embeddings of each batch, put back into the order of the sentences."""

    def call() -> np.ndarray:
        out = np.empty((sum(len(batch.sentences) for batch in batches), SIZES.hidden), np.float32)
        for batch in batches:
            out[batch.sentences] = encode(batch)
        return out

    return Side(call, np.asarray)


def plain_encode(config: Config, weights: Mapping[str, np.ndarray], batch: Padded) -> np.ndarray:
    """BERT, mean pooling and scaling to length 1 as the papers write them, in the precision of the weights."""

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + config.epsilon)
        return x * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    def heads(x: np.ndarray) -> np.ndarray:
        return x.reshape(*x.shape[:2], config.heads, -1).swapaxes(1, 2)

    embeddings = {part: weights[f"embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")}
    hidden = embeddings["word"][batch.words] + embeddings["position"][: batch.words.shape[1]]
    hidden = norm(hidden + embeddings["token_type"][0], "embeddings")
    bias = additive(batch.mask, hidden.dtype)[:, None, None, :]
    scale = (config.hidden // config.heads) ** -0.5
    for name in (f"encoder.layer.{i}" for i in range(config.layers)):
        q, k, v = (heads(linear(hidden, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
        attended = naive_attention(q, k, v, bias, scale).swapaxes(1, 2).reshape(hidden.shape)
        hidden = norm(linear(attended, f"{name}.attention.output.dense") + hidden, f"{name}.attention.output")
        between = linear(hidden, f"{name}.intermediate.dense")
        between = 0.5 * between * (1 + erf(between * 0.5**0.5))
        hidden = norm(linear(between, f"{name}.output.dense") + hidden, f"{name}.output")
    return pool(hidden, batch)


def pool(hidden: np.ndarray, batch: Padded) -> np.ndarray:
    """(B, L, E) to (B, E): mean over each sentence's tokens, scaled to length 1."""
    share = (batch.mask / batch.lengths[:, None]).astype(hidden.dtype)
    means = np.matmul(share[:, None], hidden)[:, 0]
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def check(data: Input) -> Check:
    """A few sentences of all lengths, in float64."""
    order = data.batches(len(data.tokens))[0].sentences
    chosen = order[np.linspace(0, len(order) - 1, CHECKED).astype(int)]
    weights = {name: x.astype(np.float64) for name, x in data.weights.items() if x.dtype == np.float32}
    expected = plain_encode(data.config, weights, pad(chosen, data.tokens))
    return Check(lambda result: result[chosen], expected)


def flops(counts: np.ndarray) -> float:
    """Linear layers for each token, attention for each pair of tokens of a sentence."""
    e = SIZES.hidden
    linear = 2.0 * counts.sum() * (4 * e * e + 2 * e * SIZES.intermediate)
    return SIZES.layers * (linear + 4.0 * e * float((counts * counts).sum()))


def case(sentences: int, quick: bool) -> Case:
    counts, e = token_counts(sentences), SIZES.hidden
    weights = SIZES.layers * (4 * e * e + 2 * e * SIZES.intermediate)
    return Case(
        name=f"sentence_embeddings/f32/N{sentences}",
        group="sentence_embeddings float32",
        sizes={"N": sentences, "L": int(counts.max()), "E": e, "H": SIZES.heads},
        dtype="float32",
        make=partial(make, sentences),
        ours=ours,
        naive=naive,
        check=check,
        flops=flops(counts),
        bytes_moved=4.0 * (weights + e * (int(counts.sum()) + sentences)),
        tolerance=1e-5,
        peers=PEERS,
        quick=quick,
    )


def cases() -> list[Case]:
    return [case(64, quick=True), case(256, quick=False)]
