"""How to lay a 7B-shaped transformer out over up to 65,536 devices: time, memory and bubble of each way, and the best.

python examples/sharding_report.py
python examples/sharding_report.py --devices 1024 --schedule interleaved --chunks 2 --output sharding
python examples/sharding_report.py --devices 256 --memory 40e9 --recompute --report --trace

One training step, forward, backward and AdamW whose state is divided over the copies of the model (ZeRO-1), runs on
dry meshes: the layers, the pipeline and the optimiser of fastcore.sharding, with shapes and no data. Bytes, operations
and memory are counted; seconds are modelled by the latency, bandwidth and speed given, the same between all devices.
Prints a table for each number of devices, and writes layouts-N.png and best-N.png, and with --trace best-N.json, for
ui.perfetto.dev.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, Python looks only beside it

if TYPE_CHECKING:
    from examples.sharding.layouts import Model, Outcome, Plan
    from fastcore.sharding import Link


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Layouts of a transformer over many devices, modelled.")
    add = parser.add_argument
    add("--devices", type=_count, nargs="+", default=[4096, 16384, 65536], metavar="N", help="(default: %(default)s)")
    add("--memory", type=_positive, default=80e9, metavar="BYTES", help="of a device (default: %(default).0e)")
    add("--flops", type=_positive, default=1e14, metavar="PER_S", help="of a device (default: %(default).0e)")
    add("--bandwidth", type=_positive, default=50e9, metavar="BYTES_PER_S", help="of a link (default: %(default).0e)")
    add("--latency", type=float, default=5e-6, metavar="S", help="of a message (default: %(default).0e)")
    add("--schedule", choices=("gpipe", "1f1b", "interleaved"), default="1f1b", help="(default: %(default)s)")
    add("--chunks", type=_count, metavar="V", help="stages a device, for interleaved (default: 2)")
    add("--rows", type=_count, default=1, metavar="N", help="sequences of a micro-batch (default: %(default)s)")
    add("--recompute", action="store_true", help="keep only the inputs of blocks, run them again going backward")
    add("--layers", type=_count, default=32, metavar="N", help="(default: %(default)s)")
    add("--embed", type=_count, default=4096, metavar="N", help="(default: %(default)s)")
    add("--heads", type=_count, default=32, metavar="N", help="(default: %(default)s)")
    add("--hidden", type=_count, default=11008, metavar="N", help="columns between the layers (default: %(default)s)")
    add("--vocabulary", type=_count, default=32000, metavar="N", help="(default: %(default)s)")
    add("--length", type=_count, default=2048, metavar="N", help="tokens of a sequence (default: %(default)s)")
    add("--batch", type=_count, default=2048, metavar="N", help="sequences of a step (default: %(default)s)")
    add("--output", type=Path, default=Path("sharding_report"), metavar="DIR", help="(default: %(default)s)")
    add("--report", action="store_true", help="print what the best layout sends and computes, too")
    add("--trace", action="store_true", help="write the best layout's modelled clock, too")
    options = parser.parse_args(arguments)
    if options.chunks is not None and options.schedule != "interleaved":
        parser.error("--chunks goes with --schedule interleaved")
    if not 0 <= options.latency < math.inf:
        parser.error(f"--latency must be seconds, not negative; got {options.latency}")
    if options.embed % options.heads:
        parser.error(f"--embed must be a multiple of --heads; got {options.embed} and {options.heads}")
    return options


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {text}")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"must be above 0; got {text}")
    return number


def show(outcomes: "list[Outcome]", chosen: "Outcome | None", memory_bytes: float) -> None:
    """The table of one number of devices."""
    print(
        f"{'dp × tp × pp':>16}{'micro-batches':>15}{'step, s: overlapped':>21}{'not':>9}{'bubble':>8}"
        f"{'peak GB':>9}{'sent GB':>9}{'busy':>7}"
    )
    for outcome in outcomes:
        report = outcome.report
        lower, upper = report.time_s
        fits = report.peak_bytes <= memory_bytes
        print(
            f"{outcome.layout!s:>16}{outcome.microbatches:15,}{lower:21.3f}{upper:9.3f}{report.bubble:8.2f}"
            f"{report.peak_bytes / 1e9:9.1f}{report.bytes_device / 1e9:9.1f}{outcome.busy:7.1%}"
            f"{'   best' if outcome is chosen else '' if fits else '   does not fit'}"
        )


def run(
    devices: int, model: "Model", plan: "Plan", link: "Link", options: argparse.Namespace
) -> tuple[bool, list[Path]]:
    """Table and pictures of one number of devices: whether a layout fits, and the files written."""
    from examples.sharding.layouts import best, cost, layouts

    start = time.perf_counter()
    outcomes = [cost(model, layout, plan, link)[0] for layout in layouts(devices, model, plan)]
    outcomes.sort(key=lambda outcome: outcome.step_s)
    print(f"\n{devices:,} devices")
    if not outcomes:
        print("No layout divides layers, heads and batch.")
        return False, []
    chosen = best(outcomes, options.memory)
    show(outcomes, chosen, options.memory)
    if chosen is None:
        print("No layout fits. The least memory:", min(outcome.report.peak_bytes for outcome in outcomes) / 1e9, "GB")
    else:
        tokens = model.batch * model.length
        print(f"Best: {chosen.layout}, {chosen.step_s:.3f} s a step of {tokens:,} tokens")
        if options.report:
            print(chosen.report)
    print(f"{len(outcomes)} layouts in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    return chosen is not None, draw(outcomes, chosen, model, plan, options)


def draw(
    outcomes: "list[Outcome]", chosen: "Outcome | None", model: "Model", plan: "Plan", options: argparse.Namespace
) -> list[Path]:
    """The files written; without matplotlib the trace at most."""
    from examples.sharding.layouts import cost

    options.output.mkdir(parents=True, exist_ok=True)
    devices = outcomes[0].layout.devices
    pictures, files = find_spec("matplotlib") is not None, []
    if pictures:
        from examples.sharding.pictures import draw_layouts

        files.append(options.output / f"layouts-{devices}.png")
        draw_layouts(outcomes, chosen, options.memory, files[-1])
    else:
        print("No pictures: matplotlib is not installed.", file=sys.stderr)
    if chosen is not None and (pictures or options.trace):
        mesh = cost(model, chosen.layout, plan, chosen.report.link)[1]
        if pictures:
            files.append(options.output / f"best-{devices}.png")
            mesh.plot(files[-1])
        if options.trace:
            files.append(options.output / f"best-{devices}.json")
            mesh.chrome_trace(files[-1])
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 where no layout fits."""
    options = parse(arguments)
    from examples.sharding.layouts import Model, Plan, num_parameters
    from fastcore.sharding import Link

    link = Link(options.latency, options.bandwidth, options.flops)
    chunks = (options.chunks or 2) if options.schedule == "interleaved" else 1
    plan = Plan(options.schedule, chunks, options.rows, options.recompute)
    model = Model(
        options.layers, options.embed, options.heads, options.hidden, options.vocabulary, options.length, options.batch
    )
    print(
        f"{num_parameters(model) / 1e9:.2f}e9 parameters in float32, {model.layers} layers of {model.embed_dim} and"
        f" {model.hidden_dim} columns, {model.batch} sequences of {model.length} tokens a step, {plan.schedule}"
        f"{f' with {chunks} chunks' if chunks > 1 else ''}{', blocks recomputed' if plan.recompute else ''}"
    )
    fits, written = [], []
    try:
        for devices in options.devices:
            fit, files = run(devices, model, plan, link, options)
            fits.append(fit)
            written += files
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    if written:
        print("\nWritten: " + ", ".join(map(str, written)))
    return 0 if all(fits) else 1


if __name__ == "__main__":
    sys.exit(main())
