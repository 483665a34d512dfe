"""A model of two small layers with random weights, its vocabulary, and the textbook's way to compute it."""

import numpy as np

from examples.smollm2.tokenizer import Tokenizer, characters_of_bytes
from examples.smollm2.weights import Config, LayerWeights, Weights

SMALL = Config(
    layers=2, heads=4, kv_heads=2, hidden=32, intermediate=40, head_dim=8, epsilon=1e-5, rope_base=1e4, context=120
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = [*CONTROL, *characters_of_bytes(), "he", "Ġt"]


def small_weights() -> Weights:
    """Random ones, large enough that attention is far from uniform."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape, scale=1.5 / np.sqrt(shape[0]) if len(shape) > 1 else 1).astype(np.float32)

    e, kv = SMALL.hidden, SMALL.kv_heads * SMALL.head_dim
    layers = [
        LayerWeights(
            draw(e), draw(e, e + 2 * kv), draw(e, e), draw(e), draw(e, 2 * SMALL.intermediate),
            draw(SMALL.intermediate, e),
        )
        for _ in range(SMALL.layers)
    ]  # fmt: skip
    embeddings = rng.normal(size=(len(VOCABULARY), e)).astype(np.float32)
    return Weights(SMALL, embeddings, layers, draw(e), np.ascontiguousarray(embeddings.T))


def textbook(weights: Weights, tokens: list[int]) -> np.ndarray:
    """Logits of all tokens in float64, everything written out."""
    c, n = weights.config, len(tokens)

    def norm(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + c.epsilon) * weight

    turn = np.exp(1j * np.outer(np.arange(n), c.rope_base ** (-np.arange(0, c.head_dim, 2) / c.head_dim)))

    def rotate(x):  # (n, heads, D); neighbours are the two parts of a complex number
        z = (x[..., ::2] + 1j * x[..., 1::2]) * turn[:, None]
        return np.stack([z.real, z.imag], -1).reshape(x.shape)

    x = weights.embeddings[tokens].astype(np.float64)
    for layer in weights.layers:
        q, k, v = np.split(norm(x, layer.attention_norm) @ layer.query_key_value, [32, 48], axis=1)
        q, k = rotate(q.reshape(n, c.heads, -1)), rotate(k.reshape(n, c.kv_heads, -1))
        k, v = (np.repeat(part, c.heads // c.kv_heads, axis=1) for part in (k, v.reshape(n, c.kv_heads, -1)))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(c.head_dim)
        scores[:, ~np.tri(n, dtype=bool)] = -np.inf
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", shares, v).reshape(n, -1) @ layer.attention_out
        gate, up = np.split(norm(x, layer.feed_forward_norm) @ layer.gate_up, 2, axis=1)
        x = x + (gate / (1 + np.exp(-gate)) * up) @ layer.down
    return norm(x, weights.norm) @ weights.head


def small_tokenizer() -> Tokenizer:
    """Needs the package tokenizers."""
    return Tokenizer(VOCABULARY, ["h e", "Ġ t"], range(len(CONTROL)))
