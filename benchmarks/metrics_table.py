"""The README's table of `fastcore.metrics`: a line for each function and kind of argument, a column for each N."""

from benchmarks import report
from benchmarks.registry import METRICS, NUMPY

CAPTION = (
    "Metrics: fastcore's time for N rows, and how many times longer the library of the second column takes; others at "
    "N = 1e6, or the most rows they were timed at."
)
OTHERS_ROWS = 1_000_000


def cases_of(run: dict) -> list[dict]:
    return [case for case in run["cases"] if case["name"].split("/")[0] in METRICS]


def table(run: dict) -> list[str]:
    """Markdown, with its caption; nothing where no metrics were timed."""
    lines: dict[str, dict[int, dict]] = {}
    for case in cases_of(run):
        lines.setdefault(case["group"], {})[case["sizes"]["N"]] = case
    if not lines:
        return []
    columns = sorted({rows for line in lines.values() for rows in line})
    heads = ["metric", "against", *(f"N = {short(rows)}" for rows in columns), "others"]
    text = [CAPTION, "", f"| {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * len(columns)} --- |"]
    for group, line in lines.items():
        main = next((side for case in line.values() for side in peers_of(case)), NUMPY)
        cells = [cell(line[rows], main) if rows in line else "" for rows in columns]
        text.append(f"| `{group}` | {report.title(main)} | {' | '.join(cells)} | {others(line, main)} |")
    return [*text, ""]


def peers_of(case: dict) -> list[str]:
    return [side for side in report.compared(case) if side != NUMPY]


def short(rows: int) -> str:
    """1000 as 1e3, 20000 as 2e4."""
    return str(rows) if rows < 1000 else f"{rows:.0e}".replace("e+0", "e")


def cell(case: dict, main: str) -> str:
    """Our time, and how many times longer the other takes."""
    ratio = case["sides"].get(main, {}).get("ratio")
    ours = report.cell(case, report.OURS)
    return f"{ours} {report.times(ratio[0])}" if ratio else ours


def others(line: dict[int, dict], main: str) -> str:
    """The other sides, each at one N."""
    found: dict[str, str] = {}
    for rows in sorted(line, key=lambda rows: (rows != OTHERS_ROWS, -rows)):
        for side in report.compared(line[rows]):
            if side not in (main, *found):
                found[side] = f"{report.title(side)} {report.times(line[rows]['sides'][side]['ratio'][0])}"
    return ", ".join(found[side] for side in sorted(found, key=lambda side: side == NUMPY))
