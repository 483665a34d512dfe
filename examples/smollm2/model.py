"""The forward pass of a Llama, over the packed tokens of any number of sequences."""

from collections.abc import Callable

import numpy as np

from examples.smollm2.weights import LayerWeights, Weights
from fastcore import nn
from fastcore.kvcache import Rotary

# (layer, queries (N, H, D), keys (N, G, D), values (N, G, D)) -> (N, H, D): attention of the packed tokens within their
# sequences, by whoever keeps the keys and values of earlier tokens.
Attend = Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Model:
    """Hidden features and logits of tokens.

    Parameters
    ----------
    weights : Weights
    """

    def __init__(self, weights: Weights) -> None:
        self.config = weights.config
        self._weights = weights
        # Rows of Q and K are stored permuted in GGUF, so that pairs are neighbours.
        self._rotary = Rotary(self.config.rope_base, interleaved=True)

    def __call__(self, tokens: np.ndarray, positions: np.ndarray, attend: Attend) -> np.ndarray:
        """Features behind the last layer, (N, E), of N packed tokens at their positions, both int64."""
        hidden = self._weights.embeddings[tokens]
        for i, layer in enumerate(self._weights.layers):
            hidden += self._attention(i, layer, hidden, positions, attend)
            hidden += self._feed_forward(layer, hidden)
        return hidden

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """(N, vocabulary) of features (N, E)."""
        return self._norm(hidden, self._weights.norm) @ self._weights.head

    def _attention(
        self, index: int, layer: LayerWeights, hidden: np.ndarray, positions: np.ndarray, attend: Attend
    ) -> np.ndarray:
        heads, kv_heads = self.config.heads, self.config.kv_heads
        projected = self._norm(hidden, layer.attention_norm) @ layer.query_key_value
        parts = projected.reshape(len(hidden), heads + 2 * kv_heads, self.config.head_dim)
        rotated = parts[:, : heads + kv_heads].transpose(1, 0, 2)
        self._rotary.rotate(rotated, positions, out=rotated)
        attended = attend(index, parts[:, :heads], parts[:, heads:-kv_heads], parts[:, -kv_heads:])
        return attended.reshape(len(hidden), -1) @ layer.attention_out

    def _feed_forward(self, layer: LayerWeights, hidden: np.ndarray) -> np.ndarray:
        between = self.config.intermediate
        both = self._norm(hidden, layer.feed_forward_norm) @ layer.gate_up
        return nn.swiglu(both[:, :between], both[:, between:]) @ layer.down

    def _norm(self, hidden: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return nn.rms_norm(hidden, self.config.hidden, weight, self.config.epsilon)
