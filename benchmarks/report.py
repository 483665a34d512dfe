"""What a finished run says: JSON, the Markdown table, the list of losses.

A run is one dictionary (`results.json`):

    {"created", "mode", "machine": {...}, "ceilings": {key: per second}, "peers": [...], "skipped": [names], "cases": [
        {"name", "group", "sizes", "dtype", "flops", "bytes", "ceiling": key or None, "fraction": of it or None,
         "share": [median, low, high] of a reading of the same bytes in the same rounds, or None,
         "sides": {side: {"seconds", "low", "high", "rounds", "calls", "setup", "error", "ratio": [median, low, high]}
                         or {"missing": reason} or {"failed": reason}}}]}

`ratio` is how many times longer the side takes than ours; below 1 we lose. Everything here works on such a dictionary
alone, so a report can be made again from the file.
"""

from collections.abc import Iterable
from typing import Any

from benchmarks.registry import NUMPY, OURS

TITLES = {
    OURS: "fastcore",
    NUMPY: "NumPy",
    "torch": "PyTorch",
    "torch sdpa": "PyTorch SDPA",
    "torch rows": "PyTorch rows",
    "torch one by one": "PyTorch one by one",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "jax": "JAX",
    "numpy in place": "NumPy in place",
    "numpy polynomial": "numpy.polynomial",
    "numpy eigvals": "NumPy eigvals",
    "numpy chebyshev": "NumPy Chebyshev",
    "scipy newton": "SciPy newton",
    "scipy find_root": "SciPy find_root",
}
FEW_ROUNDS = 5  # a median of fewer rounds is marked with their number
CAPTION = f"Medians (n: rounds, where fewer than {FEW_ROUNDS}); how many times longer than fastcore: ratio of medians"


def title(side: str) -> str:
    return TITLES.get(side, side)


def sides_of(run: dict) -> list[str]:
    """Every side that appears, ours and NumPy first."""
    return list(dict.fromkeys([OURS, NUMPY, *run["peers"]]))


def is_timed(case: dict, side: str) -> bool:
    return "seconds" in case["sides"].get(side, {})


def compared(case: dict) -> list[str]:
    """Other sides that were timed against ours."""
    return [side for side in case["sides"] if side != OURS and is_timed(case, side) and is_timed(case, OURS)]


def is_ours(side: str) -> bool:
    """Whether a side is another way of ours, e.g. `fastcore float32` beside a cache of int8: no peer, and no loss."""
    return side.startswith(OURS)


def best_peer(case: dict) -> str | None:
    """The fastest of the peers (NumPy is not one)."""
    peers = [side for side in compared(case) if side != NUMPY and not is_ours(side)]
    return min(peers, key=lambda side: case["sides"][side]["seconds"], default=None)


def duration(seconds: float) -> str:
    """Three significant digits with a unit."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}" if seconds < 999.5 * factor else f"{seconds / factor:.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 9.995 else f"{ratio:.1f}×" if ratio < 99.95 else f"{ratio:.0f}×"


def spread(ratio: list[float]) -> str:
    """Ratio of medians and the quartiles of the rounds' ratios."""
    median, low, high = ratio
    return f"{times(median)} ({times(low)[:-1]}–{times(high)[:-1]})"


def cell(case: dict, side: str, separator: str = " ", brief: bool = False) -> str:
    """Time of a side and how many times longer it takes than ours; `brief` leaves the quartiles out."""
    entry = case["sides"].get(side, {})
    if "seconds" not in entry:
        return "failed" if "failed" in entry else "–"
    text = duration(entry["seconds"])
    if len(entry["rounds"]) < FEW_ROUNDS:
        text += f" (n={len(entry['rounds'])})"
    if side == OURS or "ratio" not in entry:
        return text
    return f"{text}{separator}{times(entry['ratio'][0]) if brief else spread(entry['ratio'])}"


def fraction(case: dict) -> str:
    if case.get("fraction") is None:
        return "–"
    kind = "FMA" if case["ceiling"].startswith("fma") else "copy" if case["ceiling"].endswith("copy") else "read"
    text = f"{100 * case['fraction']:.0f} % {kind}"
    if case.get("share"):
        _, low, high = case["share"]
        text += f" ({100 * low:.0f}–{100 * high:.0f})"
    return text


def losses(run: dict) -> list[str]:
    """Each comparison we lose, the worst first."""
    found = []
    for case in run["cases"]:
        for side in (side for side in compared(case) if not is_ours(side)):
            ratio = case["sides"][side]["ratio"]
            if ratio[0] < 1.0:
                verdict = "faster" if ratio[0] <= 0.99 else "equal within 1 %"
                clear = "" if ratio[2] < 1.0 else ", within the spread"
                found.append((ratio[0], f"{case['name']}: {title(side)} is {verdict}, {spread(ratio)}{clear}"))
    return [text for _, text in sorted(found)]


def failures(run: dict) -> list[str]:
    """Sides that gave a wrong result or none."""
    return [
        f"{case['name']}: {title(side)}: {entry['failed']}"
        for case in run["cases"]
        for side, entry in case["sides"].items()
        if "failed" in entry
    ]


def missing(run: dict) -> list[str]:
    """Why sides did not take part, one line for each reason, and the cases for which the time was too short."""
    reasons: dict[str, list[str]] = {}
    for case in run["cases"]:
        for side, entry in case["sides"].items():
            if "missing" in entry:
                reasons.setdefault(f"{title(side)}: {entry['missing']}", []).append(case["name"])
    lines = [f"{reason} ({len(names)} case{'s' * (len(names) > 1)})" for reason, names in reasons.items()]
    return lines + [f"{name}: skipped, the time of a quick run was up" for name in run.get("skipped", [])]


def setups(run: dict) -> list[str]:
    """How each side was asked, one line for each way, with its cases."""
    ways: dict[str, list[str]] = {}
    for case in run["cases"]:
        for side, entry in case["sides"].items():
            if entry.get("setup"):
                ways.setdefault(f"{title(side)}, {entry['setup']}", []).append(case["name"])
    return [f"{way}: {', '.join(f'`{name}`' for name in ways[way])}" for way in sorted(ways)]


def ceiling_lines(run: dict) -> list[str]:
    values = run["ceilings"]
    lines = []
    for key in (key for key in values if key.startswith("fma")):
        dtype, _, threads = key.removeprefix("fma_").partition("_")
        some = f" of {threads.removesuffix('thread')} thread" if threads else ""
        lines.append(f"{dtype} FMA{some} {values[key] / 1e9:.0f} GFLOP/s")
    for key in sorted((k for k in values if k.startswith("read")), key=lambda k: int(k[5:-3])):
        lines.append(f"read of {int(key[5:-3]) / 1024:.4g} MiB {values[key] / 1e9:.0f} GB/s")
    return lines


def machine_lines(run: dict) -> list[str]:
    """Where and with what the run was made."""
    machine: dict[str, Any] = run["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    threads = f"{machine['threads']} threads for every side"
    if any("1thread" in case["name"] for case in run["cases"]):
        threads += ", or 1 where the name of the case says so"
    if any(name.endswith("_NUM_THREADS") for name in machine["settings"]):
        threads = "thread counts as set in the environment"
    lines = [
        f"{machine['processor']} ({machine['compiled_for']}), {machine['cores']} cores; {threads}",
        f"{machine['system']}, Python {machine['python']}, {versions}",
        f"Ceilings measured in the same run: {', '.join(ceiling_lines(run))}",
    ]
    if any(case.get("share") for case in run["cases"]):
        lines.append("Shares with quartiles: of a read, or a copy, of the same arrays, timed in the same rounds")
    if machine["settings"]:
        lines.append("Environment: " + ", ".join(f"{name}={value}" for name, value in machine["settings"].items()))
    if machine["unset"]:
        lines.append(f"Unset for NumPy's sake, since it slows OpenBLAS down: {', '.join(machine['unset'])}")
    lines.append(f"Run of {run['created']}, mode {run['mode']}, commit {machine['commit'] or 'unknown'}")
    for other in run.get("others", ()):
        which = ", ".join(other["domains"])
        when = f"run of {other['created']}, mode {other['mode']}, commit {other['commit'] or 'unknown'}"
        lines.append(f"Cases of {which}: {when}")
    return lines


def others_of(run: dict, cases: list[dict]) -> list[str]:
    """The sides besides ours that were asked in any of these cases: the columns of their table."""
    return [side for side in sides_of(run) if side != OURS and any(side in case["sides"] for case in cases)]


def parts(run: dict) -> list[list[dict]]:
    """The cases, apart where other sides take part: a table with a column for everyone would be mostly empty."""
    found: dict[tuple[str, ...], list[dict]] = {}
    for case in run["cases"]:
        found.setdefault(tuple(others_of(run, [case])), []).append(case)
    return list(found.values())


def table(run: dict, names: list[str] | None = None, brief: bool = False) -> list[str]:
    """Markdown rows; `names` restricts and orders the cases, `brief` leaves out quartiles and sides without a time."""
    by_name = {case["name"]: case for case in run["cases"] if names is None or case["name"] in names}
    others = others_of(run, list(by_name.values()))
    if brief:
        others = [side for side in others if any(is_timed(case, side) for case in by_name.values())]
    heads = ["case", title(OURS), *map(title, others), "of the ceiling"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' + ' ---: |' * (len(heads) - 1)}"]
    for name in names or by_name:
        case = by_name[name]
        cells = [f"`{name}`", cell(case, OURS), *(cell(case, side, brief=brief) for side in others)]
        cells.append(fraction(case))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def bullets(heading: str, lines: list[str], none: str) -> list[str]:
    return [f"## {heading}", "", *([f"- {line}" for line in lines] or [none]), ""]


def markdown(run: dict, pictures: Iterable[str] = ()) -> str:
    """The whole report; `pictures` are files beside it."""
    text = ["# fastcore benchmark", ""]
    text += [f"- {line}" for line in machine_lines(run)]
    text += [
        "",
        f"{CAPTION} (quartiles of the ratios in each round).",
        "",
        *(line for part in parts(run) for line in (*table(run, [case["name"] for case in part]), "")),
        *(f"![{picture}]({picture})\n" for picture in pictures),
    ]
    text += bullets("Losses", losses(run), "None in this run.")
    if wrong := failures(run):
        text += bullets("Wrong or failed", wrong, "")
    if absent := missing(run):
        text += bullets("Not compared", absent, "")
    if ways := setups(run):
        text += bullets("How each side was asked", ways, "")
    return "\n".join(text)
