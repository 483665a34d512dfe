"""`python -m benchmarks.readme RESULTS ...`: write the results of runs into README.md, and its picture beside.

RESULTS is a `results.json` or the folder that holds one; of several, a later one replaces cases of an earlier. The text
between the two markers in README.md is replaced.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from benchmarks import metrics_table, plots, report
from benchmarks.environment import ROOT

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
PICTURE = Path("docs/benchmark.png")
# A run of more cases than that shows these alone in table and picture; losses and failures are listed from all.
MOST_ROWS = 16
IMPORTANT = re.compile(
    r"attention/prefill/f32/B1-H8-L(512|2048)-D(64|128)(/causal)?$|attention/encoder/|sentence_embeddings/f32/N256$"
    r"|attention/(training|backward)/f32/|attention/prefill/bf16/|attention/(varlen|score_mod)/"
    r"|attention/(block_sparse/f32/H8-L4096|linear/f32/B1-H8-L16384)|transformers/prefill/"
    r"|kvcache/decode/f32/(B[18]-H32-G8-S(4096|32768)-D128|B1-H12-G12-S256-D64)$|kvcache/decode/int8/B1-H32-G8-S32768"
    r"|generate/decode/"
    r"|polynomial/polyval/f64/N1000000-D(3|5|20)/1thread$|polynomial/(solve|inverse|fit)/f64/N(1|1000000)-D(9|10)/"
    r"|polynomial/(real_)?roots/f64/N100000-D10/"
    r"|nn/(layer|rms)_norm(_backward)?/f32/(N8192-E1024(/out)?|N64-E768)$|nn/(batch_norm|softmax|dropout|adamw_step)/f32/"
    r"|nn/(gelu|silu)/f32/N10000000$|autodiff/value_and_grad/f\d+/N1000000$"
    r"|sharding/(matmul/f\d+/M1024-K1024-N1024|psum/f32/N1024|ring_attention/f32/H8-L4096-D64(/causal)?)/\d{1,4}devices$"
)


def load(source: Path) -> dict:
    """The run in a results file, or in the folder of one."""
    file = source / "results.json" if source.is_dir() else source
    if not file.is_file():
        raise SystemExit(f"RESULTS must be a results.json or a folder with one; got {source}. Run `make bench` first.")
    run = json.loads(file.read_text(encoding="utf-8"))
    if "cases" not in run or "machine" not in run:
        raise SystemExit(f"{file} is not the results file of a benchmark run.")
    return run


def joined(runs: list[dict]) -> dict:
    """One run of the cases of all; each of the others is named with the domains it has."""
    first, *later = runs
    cases = {case["name"]: case for run in runs for case in run["cases"]}
    peers = list(dict.fromkeys(peer for run in runs for peer in run["peers"]))
    others = [{"domains": sorted({case["name"].split("/")[0] for case in run["cases"]}), **_when(run)} for run in later]
    return {**first, "cases": list(cases.values()), "peers": peers, "others": others}


def _when(run: dict) -> dict:
    return {"created": run["created"], "mode": run["mode"], "commit": run["machine"]["commit"]}


def shown(run: dict) -> list[str]:
    """The cases of the tables of a line a case, and of the picture."""
    names = [case["name"] for case in run["cases"] if case not in metrics_table.cases_of(run)]
    return names if len(names) <= MOST_ROWS else [name for name in names if IMPORTANT.match(name)] or names


def by_domain(names: list[str]) -> list[list[str]]:
    """Cases of one domain together, a table each: their sides are the same."""
    domains = dict.fromkeys(name.split("/")[0] for name in names)
    return [[name for name in names if name.split("/")[0] == domain] for domain in domains]


def block(run: dict) -> str:
    """Markers, picture, tables, losses, what was not compared, and the machine."""
    lost, wrong, absent = report.losses(run), report.failures(run), report.missing(run)
    lines = [
        BEGIN,
        "<!-- Written by `make readme RESULTS=<results file>`; do not edit by hand. -->",
        "",
        f"![How many times longer other libraries take than fastcore]({PICTURE.as_posix()})",
        "",
        f"{report.CAPTION}.",
        "",
        *(line for names in by_domain(shown(run)) for line in (*report.table(run, names, brief=True), "")),
        *metrics_table.table(run),
        *listed(f"**Losses** in the {len(run['cases'])} cases", lost or ["none"]),
        *listed("**Wrong or failed**", wrong),
        *listed("**Not compared**", absent),
        *listed("**Machine**", report.machine_lines(run)),
        END,
    ]
    return "\n".join(lines)


def listed(heading: str, lines: list[str]) -> list[str]:
    """A heading and its bullets; nothing where there are none."""
    return [f"{heading}:", "", *(f"- {line}" for line in lines), ""] if lines else []


def replaced(text: str, new: str) -> str:
    """The text with `new` in place of the block between the markers, markers included."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md must have the lines {BEGIN} and {END}, in this order.")
    return before + new + after


def write(run: dict, root: Path = ROOT) -> None:
    """Rewrite README.md and the picture in a checkout."""
    readme = root / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), block(run)), encoding="utf-8")
    picture = root / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    against_peers = [case["name"] for case in run["cases"] if case["name"] in shown(run) and report.best_peer(case)]
    plots.speedup(run, against_peers or None).savefig(picture, dpi=100)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS", nargs="+")
    write(joined([load(source) for source in parser.parse_args(arguments).results]))
    print(f"Wrote README.md and {PICTURE}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
