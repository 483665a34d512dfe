"""Checks of the arguments of `fastcore.integrations`, and their messages."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from fastcore._core.validate import counted, is_float_type, kind_of, shown


def known_name(x: Any, name: str, known: Collection[str], lister: str) -> str:
    """`x`, one of the strings ``known``; these are too many for a message, which names the function that lists them."""
    if not isinstance(x, str):
        fix = " A decorator needs its parentheses: @patch_sklearn()." if callable(x) else ""
        raise TypeError(f"{name} must be a string. Got {kind_of(x)}.{fix}")
    if x not in known:
        from difflib import get_close_matches

        close = get_close_matches(x, known, 1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{name} must be one of {lister}(). Got {shown(x)}. {hint}".rstrip())
    return x


# --- dask ---


def number_of_arrays(given: int, names: Sequence[str], metric: str) -> None:
    if given != len(names):
        raise TypeError(f"{metric} takes {', '.join(names)}. Got {given} array(s); options go by name.")


def not_its_arguments(metric: str, names: Collection[str], error: TypeError) -> NoReturn:
    raise TypeError(f"{metric} takes {', '.join(names)}. Got: {error}.") from None


def have_samples(axes: Mapping[str, int]) -> None:
    for name, number in axes.items():
        if not number:
            raise ValueError(f"{name} must have a first axis of samples. Got a scalar.")


def blocks_pair(numbers: Mapping[str, int | None]) -> None:
    """Blocks, some of unknown length: numbers along the first axis, None of arrays in memory, which have none."""
    if len(set(numbers.values())) > 1:
        came = ", ".join(f"{name}: {'in memory' if n is None else counted(n, 'block')}" for name, n in numbers.items())
        raise ValueError(
            f"Arrays with blocks of unknown length must all have as many blocks. Got {came}."
            " Call compute_chunk_sizes() on those that are unknown."
        )


# --- PyTorch ---


def not_a_tensor(x: Any, name: str) -> NoReturn:
    raise TypeError(f"{name} must be a torch.Tensor. Got {kind_of(x)}. Pass it through torch.as_tensor.")


def tensors(named: Mapping[str, Any]) -> None:
    """Tensors, by what only they have: PyTorch is not imported here."""
    for name, x in named.items():
        if not hasattr(x, "requires_grad"):
            not_a_tensor(x, name)


def on_the_cpu(x: Any, name: str) -> NoReturn:
    raise TypeError(f"{name} must be on the CPU. Got a tensor on {x.device}. Pass it with .cpu().")


def mask_axes(mask: Any, axes: int, name: str) -> None:
    if mask.ndim > axes:
        raise ValueError(f"{name} must broadcast to {axes} axes, as many as query has. Got {tuple(mask.shape)}.")


def window_sides(window: Any) -> tuple[Any, Any]:
    """The two sides as they came; they are checked where they are used."""
    if window is None:
        return None, None
    if not isinstance(window, tuple | list) or len(window) != 2:
        raise TypeError(f"window must be a pair (left, right), each an int or None. Got {shown(window)}.")
    return window[0], window[1]


# --- transformers ---


def attention_name(x: Any, taken: Collection[str]) -> str:
    if not isinstance(x, str):
        raise TypeError(f"name must be a string. Got {kind_of(x)}.")
    if not x or x in taken:
        raise ValueError(f"name must be a new one, not empty. Got {x!r}; taken are {', '.join(sorted(taken))}.")
    return x


def packed_alike(shape: Sequence[int], query_starts: Any, key_starts: Any) -> None:
    """Starts of packed sequences, tensors, of the queries and the keys of an attention (B, 1, L, S)."""
    batch, _, queries, keys = shape
    ends = int(query_starts[-1]) if query_starts.ndim == 1 and len(query_starts) else None
    alike = key_starts is None or (key_starts.shape == query_starts.shape and bool((key_starts == query_starts).all()))
    if batch != 1 or queries != keys or ends != queries or not alike:
        raise ValueError(
            "cu_seq_lens_q and cu_seq_lens_k must be the same starts of sequences packed into one row, the last of them"
            f" its length. Got a batch of {batch}, {queries} queries, {keys} keys, last start {ends}, starts"
            f" {'alike' if alike else 'not alike'}."
        )


def no_gradient_of(x: Any, name: str) -> None:
    if getattr(x, "requires_grad", False):
        raise ValueError(f"{name} must not require a gradient: packed sequences have none of it. Pass {name}.detach().")


def four_axes(named: Mapping[str, Any]) -> None:
    for name, x in named.items():
        if x.ndim != 4:
            raise ValueError(f"{name} must have four axes, (B, heads, tokens, size). Got {tuple(x.shape)}.")


# --- JAX ---


def float_types(named: Mapping[str, Any]) -> None:
    for name, x in named.items():
        if not is_float_type(x.dtype):
            raise TypeError(f"{name} must be float32, float64, float16 or bfloat16. Got {x.dtype}.")


def seed_of_dropout(seed: Any, dropout_p: float) -> None:
    if dropout_p and seed is None:
        raise ValueError(
            f"seed must be given where dropout_p is not 0: JAX has no generator of its own. Got dropout_p {dropout_p}."
            " Pass seed=jax.random.bits(key)."
        )
