"""`MultiHeadAttention`: the layer of "Attention Is All You Need", with weights as PyTorch lays them out."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate, validate_attention
from fastcore.attention.scaled_dot_product import scaled_dot_product_attention


class _Projection(NamedTuple):
    """x W^T + b by BLAS; the weight is (features out, features in), as in torch.nn.Linear."""

    weight: np.ndarray
    bias: np.ndarray | None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x @ self.weight.T
        if self.bias is not None:
            y += self.bias
        return y

    def rows(self, part: slice) -> "_Projection":
        return _Projection(self.weight[part], None if self.bias is None else self.bias[part])


class MultiHeadAttention:
    """Multi-head attention over arrays: project, attend, project.

    Axes: B batch, L queries, S keys, E embed_dim, H num_heads, G num_kv_heads, D = E / H.

    Parameters
    ----------
    embed_dim, num_heads : int; embed_dim is a multiple of num_heads
    num_kv_heads : int, default num_heads; divides num_heads (grouped queries)
    kdim, vdim : int, default embed_dim; features of key and value
    in_proj_weight : (E + 2 G D, E), query's rows first, then key's, then value's; needs kdim = vdim = embed_dim
    q_proj_weight, k_proj_weight, v_proj_weight : (E, E), (G D, kdim), (G D, vdim); instead of `in_proj_weight`
    in_proj_bias : (E + 2 G D,), optional, with either form of the weights
    q_proj_bias, k_proj_bias, v_proj_bias : (E,), (G D,), (G D,), each optional; instead of `in_proj_bias`
    out_proj_weight : (E, E)
    out_proj_bias : (E,), optional

    Raises
    ------
    ValueError : shapes disagree, or a weight is missing or given twice
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Equals torch.nn.MultiheadAttention in evaluation mode with batch_first=True, except that a bool `attn_mask` means
    True = takes part, as in `scaled_dot_product_attention` (there True = masked), and that a call returns the output
    alone. Weight matrices are not copied, unless they are float16 or bfloat16, which are computed in float32. Source:
    Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        kdim: int | None = None,
        vdim: int | None = None,
        in_proj_weight: Any = None,
        in_proj_bias: Any = None,
        q_proj_weight: Any = None,
        k_proj_weight: Any = None,
        v_proj_weight: Any = None,
        q_proj_bias: Any = None,
        k_proj_bias: Any = None,
        v_proj_bias: Any = None,
        out_proj_weight: Any = None,
        out_proj_bias: Any = None,
    ) -> None:
        self.embed_dim, self.num_heads, self.num_kv_heads = validate_attention.head_counts(
            embed_dim, num_heads, num_kv_heads
        )
        self.head_dim = self.embed_dim // self.num_heads
        self.kdim = self.embed_dim if kdim is None else validate.positive_index(kdim, "kdim")
        self.vdim = self.embed_dim if vdim is None else validate.positive_index(vdim, "vdim")
        given = {
            "in_proj_weight": in_proj_weight,
            "in_proj_bias": in_proj_bias,
            "q_proj_weight": q_proj_weight,
            "k_proj_weight": k_proj_weight,
            "v_proj_weight": v_proj_weight,
            "q_proj_bias": q_proj_bias,
            "k_proj_bias": k_proj_bias,
            "v_proj_bias": v_proj_bias,
            "out_proj_weight": out_proj_weight,
            "out_proj_bias": out_proj_bias,
        }
        weights = {name: validate.float_array(x, name) for name, x in given.items() if x is not None}
        kv_rows = self.num_kv_heads * self.head_dim
        validate_attention.layer_weights(weights, self.embed_dim, kv_rows, self.kdim, self.vdim)
        self.dtype = validate.same_dtype(weights)
        self._computing = validate.computing_dtype(self.dtype)
        self._take_weights({name: x.astype(self._computing, copy=False) for name, x in weights.items()}, kv_rows)

    def _take_weights(self, weights: dict[str, np.ndarray], kv_rows: int) -> None:
        """Keep the projections; biases given one by one become one vector, zero where there is none."""
        sizes = {"q": self.embed_dim, "k": kv_rows, "v": kv_rows}
        bias = weights.get("in_proj_bias")
        if any(f"{x}_proj_bias" in weights for x in sizes):
            bias = np.concatenate([weights.get(f"{x}_proj_bias", np.zeros(n)) for x, n in sizes.items()])
            bias = bias.astype(self._computing, copy=False)
        first_key, first_value = self.embed_dim, self.embed_dim + kv_rows
        parts = slice(0, first_key), slice(first_key, first_value), slice(first_value, None)
        self._packed = self._packed_key_value = None
        if "in_proj_weight" in weights:
            self._packed = _Projection(weights["in_proj_weight"], bias)
            self._packed_key_value = self._packed.rows(slice(first_key, None))
            self._query, self._key, self._value = (self._packed.rows(part) for part in parts)
        else:
            self._query, self._key, self._value = (
                _Projection(weights[f"{x}_proj_weight"], None if bias is None else bias[part])
                for x, part in zip(sizes, parts, strict=True)
            )
        self._out = _Projection(weights["out_proj_weight"], weights.get("out_proj_bias"))

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Any], num_heads: int, *, num_kv_heads: int | None = None, prefix: str = ""
    ) -> "MultiHeadAttention":
        """The layer from named weights, e.g. torch.nn.MultiheadAttention's or those loaded from safetensors.

        Parameters
        ----------
        state : names to arrays: `in_proj_weight`, `out_proj.weight`, or `q_proj.weight` and so on
        num_heads, num_kv_heads : int
        prefix : of the names of this layer, e.g. "encoder.layers.0.self_attn."; names without it are passed over

        Raises
        ------
        ValueError : a weight is missing, or a name is not one of this layer's (e.g. `bias_k`)
        """
        own = {name[len(prefix) :]: x for name, x in state.items() if name.startswith(prefix)}
        weights = validate_attention.layer_names(own, prefix)
        weights = {name: validate.float_array(x, name) for name, x in weights.items()}
        features = {name: x.shape[-1] for name, x in weights.items() if x.ndim == 2}
        kdim, vdim = features.get("k_proj_weight"), features.get("v_proj_weight")
        return cls(
            features.get("out_proj_weight", 0), num_heads, num_kv_heads=num_kv_heads, kdim=kdim, vdim=vdim, **weights
        )

    @classmethod
    def from_torch(cls, module: Any) -> "MultiHeadAttention":
        """The layer from a torch.nn.MultiheadAttention on the CPU, sharing its memory. Inputs here are batch first."""
        validate_attention.torch_layer(module)
        return cls.from_state_dict(module.state_dict(), module.num_heads)

    def __call__(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        attn_mask: Any = None,
        key_padding_mask: Any = None,
        is_causal: bool = False,
        need_weights: bool = False,
        scale: float | None = None,
        window: tuple[int | None, int | None] | None = None,
        softcap: float | None = None,
        query_offset: Any = 0,
        key_lengths: Any = None,
        dropout_p: float = 0.0,
        seed: int = 0,
    ) -> np.ndarray:
        """Attend.

        Parameters
        ----------
        query, key, value : (B, L, E), (B, S, kdim), (B, S, vdim) in the dtype of the weights, or all without B
            `key` defaults to query (self-attention), `value` to key.
        attn_mask : broadcasts to (B, H, L, S), optional; bool True = takes part, float is added to the scores
        key_padding_mask : (B, S), or (S,) without B, optional; bool True = ignored (as in PyTorch), float is added
            Padding at the end costs nothing; other patterns together with `attn_mask` are combined into a new mask.
        need_weights : bool; only False: the L x S weights are never formed
        is_causal, scale, window, softcap, query_offset, key_lengths, dropout_p, seed
            As in `scaled_dot_product_attention`.

        Returns
        -------
        (B, L, E) or (L, E), dtype of the weights
        """
        validate_attention.no_weights(need_weights)
        query, key, value = self._inputs(query, key, value)
        batch = query.shape[0] if query.ndim == 3 else 1
        rows, keys = query.shape[-2], key.shape[-2]
        if key_padding_mask is not None:
            padding = validate_attention.padding_mask(key_padding_mask, key.shape[:-1]).reshape(batch, keys)
            if attn_mask is not None:
                # Summed in the computing dtype: float16 rounds 2048.5, and its lowest number twice overflows.
                attn_mask = validate_attention.mask_array(attn_mask, "attn_mask")
                attn_mask = validate_attention.readable_mask(attn_mask, self._computing)
                padding = validate_attention.readable_mask(padding, self._computing)
                validate_attention.spread_mask(attn_mask, (batch, self.num_heads, rows, keys))
            lengths = validate.lengths_of_keys(key_lengths, batch, keys)
            attn_mask, key_lengths = _join_padding(padding, attn_mask, lengths)

        q, k, v = self._project(query, key, value)
        heads = np.empty((batch, rows, self.num_heads, self.head_dim), self._computing)
        scaled_dot_product_attention(
            self._split_heads(q, batch, rows),
            self._split_heads(k, batch, keys),
            self._split_heads(v, batch, keys),
            attn_mask,
            dropout_p,
            is_causal,
            scale=scale,
            window=window,
            softcap=softcap,
            query_offset=query_offset,
            key_lengths=key_lengths,
            out=heads.transpose(0, 2, 1, 3),
            seed=seed,
        )
        out = self._out(heads.reshape(batch * rows, self.embed_dim))
        return out.reshape(query.shape).astype(self.dtype, copy=False)

    def _inputs(self, query: Any, key: Any, value: Any) -> list[np.ndarray]:
        """The three inputs checked, in the computing dtype; what came as one object stays one."""
        key = query if key is None else key
        value = key if value is None else value
        named = {"query": query, "key": key, "value": value}
        arrays: dict[int, np.ndarray] = {}
        for name, x in named.items():
            if id(x) not in arrays:
                arrays[id(x)] = validate.float_array(x, name)
        validate_attention.layer_inputs(
            [arrays[id(x)] for x in named.values()], (self.embed_dim, self.kdim, self.vdim), self.dtype
        )
        arrays = {at: x.astype(self._computing, copy=False) for at, x in arrays.items()}
        return [arrays[id(x)] for x in named.values()]

    def _project(self, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, ...]:
        """Queries, keys and values as (rows, features), by as few matrix products as the weights allow."""
        if self._packed and query is key is value:
            joined = self._packed(_rows(query))
            kv_rows = self.num_kv_heads * self.head_dim
            return tuple(np.split(joined, [self.embed_dim, self.embed_dim + kv_rows], axis=1))
        q = self._query(_rows(query))
        if self._packed_key_value and key is value:
            k, v = np.split(self._packed_key_value(_rows(key)), 2, axis=1)
            return q, k, v
        return q, self._key(_rows(key)), self._value(_rows(value))

    def _split_heads(self, x: np.ndarray, batch: int, rows: int) -> np.ndarray:
        """(B L, H D) as a (B, H, L, D) view."""
        return x.reshape(batch, rows, x.shape[1] // self.head_dim, self.head_dim).transpose(0, 2, 1, 3)


def _rows(x: np.ndarray) -> np.ndarray:
    """(B, L, E) or (L, E) as (B L, E)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _join_padding(
    padding: np.ndarray, mask: np.ndarray | None, key_lengths: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`attn_mask` and `key_lengths` with a (B, S) padding mask in them; a new L x S mask only where both need one."""
    if padding.dtype != np.bool_:
        added = padding[:, None, None]
        if mask is None:
            return added, key_lengths
        if mask.dtype == np.bool_:
            return np.where(mask, added, np.array(-np.inf, added.dtype)), key_lengths
        with np.errstate(over="ignore"):  # the lowest number twice is -inf, as it was meant
            return mask + added, key_lengths
    if not (padding[:, :-1] & ~padding[:, 1:]).any():  # nothing but padding at the end: lengths say the same
        lengths = padding.shape[1] - np.count_nonzero(padding, axis=1)
        return mask, lengths if key_lengths is None else np.minimum(lengths, key_lengths)
    admitted = ~padding[:, None, None]
    if mask is None:
        return admitted, key_lengths
    if mask.dtype == np.bool_:
        return mask & admitted, key_lengths
    return np.where(admitted, mask, np.array(-np.inf, mask.dtype)), key_lengths
