"""SmolLM2 with its heads, hidden columns and vocabulary over the devices of a mesh, each with its keys and values.

Source: Shoeybi et al. 2019, Megatron-LM, section 3. Two sums over the devices a layer, one after the attention and one
after the feed-forward network; beside them the embeddings' columns and the logits are gathered.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from examples.smollm2.weights import LayerWeights, Weights
from fastcore import nn, scaled_dot_product_attention
from fastcore.kvcache import Rotary
from fastcore.sharding import Mesh, P, ShardedArray, all_gather, column_parallel, device_function, row_parallel

AXIS = "tp"


class ShardedLayer(NamedTuple):
    """Norms whole on each device; of the matrices each has its heads and its hidden columns."""

    attention_norm: ShardedArray
    query_key_value: ShardedArray
    attention_out: ShardedArray
    feed_forward_norm: ShardedArray
    gate_up: ShardedArray
    down: ShardedArray


class ShardedModel:
    """A Llama over the axis "tp" of a mesh, for one sequence of at most `capacity` tokens.

    Parameters
    ----------
    mesh : Mesh({"tp": devices}); the number of devices divides the key/value heads and the hidden columns
    weights : Weights, the same in every process; kept in float32
    capacity : int, tokens

    Raises
    ------
    ValueError : the devices do not divide heads or columns
    """

    def __init__(self, mesh: Mesh, weights: Weights, capacity: int) -> None:
        self.config = config = weights.config
        self.mesh, self.devices = mesh, mesh.axis_size(AXIS)
        for name, size in (("key/value heads", config.kv_heads), ("hidden columns", config.intermediate)):
            if size % self.devices:
                raise ValueError(f"tp must divide the model's {size} {name}. Got {self.devices}.")
        head = weights.head.astype(np.float32)  # the embeddings are the same matrix
        self._embeddings = mesh.put(head.T, P(None, AXIS), pad=True)
        self._head = mesh.put(head, P(None, AXIS), pad=True)
        self._layers = [self._put_layer(layer) for layer in weights.layers]
        self._norm_weight = mesh.put(weights.norm)
        cache = (1, config.kv_heads, capacity, config.head_dim)
        self._caches = [[mesh.zeros(cache, np.float32, P(None, AXIS)) for _ in "kv"] for _ in weights.layers]
        self._rotary = Rotary(config.rope_base, interleaved=True)
        self._length = 0

    def _put_layer(self, layer: LayerWeights) -> ShardedLayer:
        config, columns, rows = self.config, P(None, AXIS), P(AXIS)
        query = config.heads * config.head_dim
        key = config.kv_heads * config.head_dim
        together = regrouped(layer.query_key_value.astype(np.float32), (query, key, key), self.devices)
        gate_up = regrouped(layer.gate_up.astype(np.float32), (config.intermediate,) * 2, self.devices)
        return ShardedLayer(
            self.mesh.put(layer.attention_norm),
            self.mesh.put(together, columns),
            self.mesh.put(layer.attention_out.astype(np.float32), rows),
            self.mesh.put(layer.feed_forward_norm),
            self.mesh.put(gate_up, columns),
            self.mesh.put(layer.down.astype(np.float32), rows),
        )

    def feed(self, tokens: Sequence[int]) -> ShardedArray:
        """Logits (1, vocabulary) behind the next tokens, whole on each device.

        The first tokens come together, later ones one by one: attention is causal among all or none.
        """
        positions = np.arange(self._length, self._length + len(tokens))
        numbers = np.array(tokens, np.int64)
        columns = self.mesh.empty((len(tokens), self.config.hidden), np.float32, P(None, AXIS), pad=True)
        look_up(self._embeddings, numbers, columns)
        hidden = all_gather(columns, AXIS, axis=1, tiled=True)
        for layer, cache in zip(self._layers, self._caches):
            add(self._attention(layer, cache, hidden, positions), hidden)
            add(self._feed_forward(layer, hidden), hidden)
        self._length += len(tokens)
        last = self.mesh.empty((1, self.config.hidden), np.float32)
        take_last(hidden, last)
        logits = column_parallel(self._norm(last, self._norm_weight), self._head, axis=AXIS)
        return all_gather(logits, AXIS, axis=1, tiled=True)

    def next_token(self, tokens: Sequence[int]) -> int:
        """The likeliest token behind these, the same in every process."""
        best = self.mesh.empty((1,), np.int64)
        take_largest(self.feed(tokens), best)
        return int(best.gather()[0])

    def restart(self) -> None:
        """Forget all tokens."""
        self._length = 0

    def _attention(
        self, layer: ShardedLayer, cache: Sequence[ShardedArray], hidden: ShardedArray, positions: np.ndarray
    ) -> ShardedArray:
        projected = column_parallel(self._norm(hidden, layer.attention_norm), layer.query_key_value, axis=AXIS)
        features = self.config.heads * self.config.head_dim
        attended = self.mesh.empty((len(positions), features), np.float32, P(None, AXIS))
        attend(projected, *cache, attended, positions, self._rotary)
        return row_parallel(attended, layer.attention_out, axis=AXIS)

    def _feed_forward(self, layer: ShardedLayer, hidden: ShardedArray) -> ShardedArray:
        both = column_parallel(self._norm(hidden, layer.feed_forward_norm), layer.gate_up, axis=AXIS)
        between = self.mesh.empty((hidden.shape[0], self.config.intermediate), np.float32, P(None, AXIS))
        activate(both, between)
        return row_parallel(between, layer.down, axis=AXIS)

    def _norm(self, hidden: ShardedArray, weight: ShardedArray) -> ShardedArray:
        out = self.mesh.empty(hidden.shape, np.float32)
        normalize(hidden, weight, self.config.epsilon, out)
        return out


def generate_sharded(
    model: ShardedModel, prompt: Sequence[int], max_tokens: int, stop: Collection[int] = ()
) -> Iterator[int]:
    """At most `max_tokens` tokens behind the prompt, each the likeliest; ends before a token of `stop`."""
    pending = list(prompt)
    for _ in range(max_tokens):
        token = model.next_token(pending)
        if token in stop:
            return
        yield token
        pending = [token]


def regrouped(matrix: np.ndarray, widths: Sequence[int], devices: int) -> np.ndarray:
    """Columns of several matrices side by side, so reordered that each device's part of every one is contiguous."""
    parts = np.split(matrix, np.cumsum(widths)[:-1], axis=1)
    cut = [np.split(part, devices, axis=1) for part in parts]
    return np.concatenate([pieces[device] for device in range(devices) for pieces in cut], axis=1)


# --- what a device does; functions of fastcore and NumPy, which use all threads themselves --------------------------


@device_function(flops=lambda *moved: 0)
def look_up(embeddings: np.ndarray, tokens: np.ndarray, out: np.ndarray) -> None:
    out[:] = embeddings[tokens]


@device_function(flops=lambda more, hidden: hidden.block_shape[0] * hidden.block_shape[1])
def add(more: np.ndarray, hidden: np.ndarray) -> None:
    hidden += more


@device_function(flops=lambda *moved: 0)
def take_last(hidden: np.ndarray, out: np.ndarray) -> None:
    out[0] = hidden[-1]


@device_function(flops=lambda logits, out: logits.block_shape[-1])
def take_largest(logits: np.ndarray, out: np.ndarray) -> None:
    out[0] = np.argmax(logits)


@device_function(flops=lambda hidden, weight, epsilon, out: 4 * out.block_shape[0] * out.block_shape[1])
def normalize(hidden: np.ndarray, weight: np.ndarray, epsilon: float, out: np.ndarray) -> None:
    nn.rms_norm(hidden, hidden.shape[1], weight, epsilon, out=out)


@device_function(flops=lambda both, out: 6 * out.block_shape[0] * out.block_shape[1])
def activate(both: np.ndarray, out: np.ndarray) -> None:
    nn.swiglu(both[:, : out.shape[1]], both[:, out.shape[1] :], out=out)


def _attention_flops(projected: Any, keys: Any, values: Any, out: Any, positions: np.ndarray, rotary: Rotary) -> float:
    """Two products, of each token with itself and those before it."""
    return 4.0 * out.block_shape[1] * float(np.sum(positions + 1))


@device_function(flops=_attention_flops)
def attend(
    projected: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    out: np.ndarray,
    positions: np.ndarray,
    rotary: Rotary,
) -> None:
    """Put the keys and values of new tokens into the cache, (1, G, capacity, D), and attend to all that are in it."""
    tokens, kv_heads, size = len(positions), keys.shape[1], keys.shape[3]
    heads = out.shape[1] // size
    parts = projected.reshape(tokens, heads + 2 * kv_heads, size).transpose(1, 0, 2)  # (heads, N, D)
    rotated = parts[: heads + kv_heads]
    rotary.rotate(rotated, positions, out=rotated)
    start, stop = int(positions[0]), int(positions[-1]) + 1
    keys[0, :, start:stop] = parts[heads:-kv_heads]
    values[0, :, start:stop] = parts[-kv_heads:]
    attended = out.reshape(tokens, heads, size).transpose(1, 0, 2)[None]
    scaled_dot_product_attention(
        parts[None, :heads],
        keys[:, :, :stop],
        values[:, :, :stop],
        is_causal=tokens > 1,  # several tokens are the first ones: `ShardedModel.feed`
        enable_gqa=True,
        out=attended,
    )
