"""SmolLM2-135M, the language model of `examples/generate.py`: one step of decoding, and reading a prompt.

The tokens are pieces of the shipped text. A decoding step feeds the token at position S - 1 of each sequence to caches
that hold those before it, and ends with the logits of the next one: B / time is tokens a second. All sides cut their
caches back to S - 1 tokens in each call, and compute in float32 with the weights of the file: ours reads its 4 and 8
bit blocks, NumPy, transformers and the side "fastcore float32" the same numbers in float32. Where weights or tokenizer
are not installed the cases say so.

Axes: B sequences, S tokens with the new ones, L new tokens, E hidden size.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from benchmarks.cases.attention import additive, naive_attention
from benchmarks.peers import generate_llama_cpp, generate_transformers
from benchmarks.registry import Case, Check, Factory, Side, Unavailable
from examples.sentence_embeddings import SENTENCES, read_sentences
from examples.smollm2.caches import Batch, Cached, Uncached
from examples.smollm2.model import Model
from examples.smollm2.tokenizer import Tokenizer
from examples.smollm2.weights import GGUF, Weights, default_path

PEERS: dict[str, Factory] = {
    "transformers eager": partial(generate_transformers.prepare, attention="eager"),
    "transformers sdpa": partial(generate_transformers.prepare, attention="sdpa"),
    "llama.cpp": generate_llama_cpp.prepare,
}
# Of the largest logit. llama.cpp rounds what it multiplies with its 4-bit weights to 8 bits: 0.03 to 0.04.
TOLERANCE, PEER_TOLERANCE = 1e-4, 0.1
PAGE = 32
BYTES_OF_LAYERS, BYTES_OF_HEAD = 20 / 32, 34 / 32  # a weight: Q4_1, Q8_0
SIZES = {"E": 576, "H": 9, "G": 3, "layers": 30, "intermediate": 1536, "vocabulary": 49152}


@dataclass(frozen=True)
class Task:
    """B sequences of S tokens, of which the last L are new."""

    S: int
    L: int = 1
    B: int = 1

    @property
    def name(self) -> str:
        return f"generate/{'decode' if self.L == 1 else 'prefill'}/f32/B{self.B}-S{self.S}"


@dataclass(frozen=True)
class Input:
    """Tokens of each sequence, and the model."""

    task: Task
    tokens: list[list[int]]
    model: Model

    @property
    def before(self) -> int:
        """Tokens of a sequence that are in the caches before the timed call."""
        return self.task.S - self.task.L

    @property
    def known(self) -> list[list[int]]:
        return [tokens[: self.before] for tokens in self.tokens]

    @property
    def new(self) -> list[list[int]]:
        return [tokens[self.before :] for tokens in self.tokens]


class RewoundBatch(Batch):
    """Sequences that go back, which the example has no use for."""

    def truncate(self, sequences: list[int], length: int) -> None:
        for layer in self._layers:
            for sequence in sequences:
                layer.truncate(sequence, length)


class Expanded(GGUF):
    """The file with all its matrices in float32, by the `gguf` package."""

    def matrix(self, *names: str) -> np.ndarray:
        return np.ascontiguousarray(np.vstack([self.tensor(name) for name in names]).T)


@cache
def expanded() -> Weights:
    return Expanded(default_path()).weights()


@cache
def model() -> tuple[Model, list[int]]:
    """And the tokens of the shipped text."""
    try:
        file = GGUF(default_path())
        tokenizer = Tokenizer.read(file)
    except ModuleNotFoundError as error:
        raise Unavailable(str(error)) from None
    return Model(file.weights()), tokenizer.encode(" ".join(read_sentences(SENTENCES)))


def make(task: Task) -> Input:
    network, text = model()
    pieces = [np.roll(text, -task.S * i) for i in range(task.B)]
    return Input(task, [np.resize(piece, task.S).tolist() for piece in pieces], network)


def ours(data: Input) -> Side:
    return ours_of_many(data, data.model) if data.task.B > 1 else ours_of_one(data, data.model)


def float32_weights(data: Input) -> Side:
    """Ours with the weights that transformers has."""
    network = Model(expanded())
    return ours_of_many(data, network) if data.task.B > 1 else ours_of_one(data, network)


def ours_of_one(data: Input, network: Model) -> Side:
    caches = Cached(network, data.task.S)
    if data.before:
        caches.feed(data.known[0])
    (new,) = data.new

    def call() -> np.ndarray:
        caches.truncate(data.before)
        return network.logits(caches.feed(new)[-1:])

    return Side(call, np.asarray)


def ours_of_many(data: Input, network: Model) -> Side:
    """Through pages."""
    task, new = data.task, data.new
    batch = RewoundBatch(network, task.B * -(-task.S // PAGE), PAGE)
    sequences = [batch.allocate() for _ in range(task.B)]
    batch.feed(sequences, data.known)

    def call() -> np.ndarray:
        batch.truncate(sequences, data.before)
        return network.logits(batch.feed(sequences, new)[task.L - 1 :: task.L])

    return Side(call, np.asarray)


def without_cache(data: Input) -> Side:
    """All tokens again at each step."""
    if data.task.B > 1:
        raise Unavailable("one sequence at a time")
    (tokens,) = data.tokens
    return Side(lambda: data.model.logits(Uncached(data.model).feed(tokens)[-1:]), np.asarray)


class Plain:
    """The model as the papers write it, in NumPy, with arrays for the keys and values; in the precision of `dtype`."""

    def __init__(self, capacity: int, dtype: type = np.float32) -> None:
        weights = expanded()
        c = weights.config
        self.config, self.dtype = c, dtype
        self.layers = [type(layer)(*(x.astype(dtype, copy=False) for x in layer)) for layer in weights.layers]
        self.embeddings, self.norm = weights.embeddings, weights.norm
        self.head: np.ndarray = weights.head.astype(dtype, copy=False)
        shape = c.layers, c.kv_heads, capacity, c.head_dim
        self.keys: np.ndarray = np.zeros(shape, dtype)
        self.values: np.ndarray = np.zeros(shape, dtype)
        self.length = 0

    def feed(self, tokens: list[int]) -> np.ndarray:
        """The logits behind the last of the next tokens."""
        c, start, stop = self.config, self.length, self.length + len(tokens)
        hidden: np.ndarray = self.embeddings[np.array(tokens)].astype(self.dtype)
        frequencies = c.rope_base ** (-np.arange(0, c.head_dim, 2) / c.head_dim)
        turn = np.exp(1j * np.arange(start, stop)[:, None, None] * frequencies)
        mask = np.tri(len(tokens), stop, start, dtype=bool)
        bias = additive(mask, self.dtype)
        for keys, values, layer in zip(self.keys, self.values, self.layers):
            projected = self.normalized(hidden, layer.attention_norm) @ layer.query_key_value
            parts = projected.reshape(len(tokens), -1, c.head_dim)
            parts[:, : -c.kv_heads] = self.rotated(parts[:, : -c.kv_heads], turn)
            heads = parts.transpose(1, 0, 2)
            keys[:, start:stop], values[:, start:stop] = heads[c.heads : -c.kv_heads], heads[-c.kv_heads :]
            query = heads[: c.heads].reshape(c.kv_heads, -1, len(tokens), c.head_dim)
            out = naive_attention(query, keys[:, None, :stop], values[:, None, :stop], bias, c.head_dim**-0.5)
            joined = out.reshape(c.heads, len(tokens), -1).transpose(1, 0, 2).reshape(len(tokens), -1)
            hidden += joined @ layer.attention_out
            gate, up = np.split(self.normalized(hidden, layer.feed_forward_norm) @ layer.gate_up, 2, axis=1)
            hidden += (gate / (1 + np.exp(-gate)) * up) @ layer.down
        self.length = stop
        return self.normalized(hidden[-1:], self.norm)[0] @ self.head

    def normalized(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        squares = (x * x).mean(axis=-1, keepdims=True)
        return x / np.sqrt(squares + x.dtype.type(self.config.epsilon)) * weight.astype(x.dtype)

    def rotated(self, x: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """Neighbours are the parts of complex numbers."""
        turned = (x[..., ::2] + 1j * x[..., 1::2]) * turn
        return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def naive(data: Input) -> Side:
    """`Plain`, one sequence after the other."""
    new = data.new
    models = [Plain(data.task.S) for _ in new]
    for plain, known in zip(models, data.known):
        if known:
            plain.feed(known)

    def call() -> np.ndarray:
        out = []
        for plain, tokens in zip(models, new):
            plain.length = data.before
            out.append(plain.feed(tokens))
        return np.stack(out)

    return Side(call, np.asarray)


def check(data: Input) -> Check:
    """In float64, all tokens of a sequence at once; of the first and the last sequence."""
    ends = sorted({0, data.task.B - 1})
    plain = Plain(data.task.S, np.float64)
    expected = []
    for i in ends:
        plain.length = 0
        expected.append(plain.feed(data.tokens[i]))
    return Check(lambda logits: logits[ends], np.stack(expected))


def case(task: Task) -> Case:
    """The ceiling of a decoding step is a read of the weights; of reading a prompt, arithmetic."""
    e, between, layers = SIZES["E"], SIZES["intermediate"], SIZES["layers"]
    kv = e * SIZES["G"] // SIZES["H"]
    matrices = layers * (2 * e * e + 2 * e * kv + 3 * e * between)
    head = e * SIZES["vocabulary"]
    pairs = task.L * task.S - task.L * (task.L - 1) // 2
    step = task.L == 1
    return Case(
        name=task.name,
        group=f"generate float32 B={task.B} L={task.L}",
        sizes={"B": task.B, "S": task.S, "L": task.L, "E": e, "H": SIZES["H"], "G": SIZES["G"]},
        dtype="float32",
        make=partial(make, task),
        ours=ours,
        naive=naive,
        check=check,
        flops=task.B * (2.0 * (task.L * matrices + head) + 4.0 * layers * e * pairs),
        bytes_moved=BYTES_OF_LAYERS * matrices + BYTES_OF_HEAD * head + 8.0 * task.B * layers * kv * task.S,
        tolerance=TOLERANCE,
        peer_tolerance=PEER_TOLERANCE,
        ceiling="bytes" if step else "flops",
        peers={"fastcore float32": float32_weights}
        | ({"fastcore without cache": without_cache} if step else {})
        | PEERS,
    )


def cases() -> list[Case]:
    return [case(Task(S=64)), case(Task(S=1024)), case(Task(S=256, B=8)), case(Task(S=256, L=256))]
