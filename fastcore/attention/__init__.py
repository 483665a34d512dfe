"""Attention: the function, its gradients, packed sequences, the layer, and the merging of partial results."""

from fastcore.attention.backward import scaled_dot_product_attention_backward
from fastcore.attention.linear import linear_attention, linear_attention_backward
from fastcore.attention.merge import merge_attention_states
from fastcore.attention.multi_head import MultiHeadAttention
from fastcore.attention.scaled_dot_product import scaled_dot_product_attention
from fastcore.attention.varlen import scaled_dot_product_attention_varlen
from fastcore.attention.varlen_backward import scaled_dot_product_attention_varlen_backward

__all__ = [
    "MultiHeadAttention",
    "linear_attention",
    "linear_attention_backward",
    "merge_attention_states",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_backward",
    "scaled_dot_product_attention_varlen",
    "scaled_dot_product_attention_varlen_backward",
]
