import pytest

from benchmarks import registry, report


@pytest.mark.parametrize(
    "seconds, text",
    [(1.234, "1.23 s"), (0.0999, "99.9 ms"), (0.9996, "1000 ms"), (4.96e-6, "4.96 µs"), (2e-8, "20 ns")],
)
def test_duration(seconds, text):
    assert report.duration(seconds) == text


def test_losses_are_listed_worst_first_and_marked_where_unclear(run):
    assert report.losses(run) == [
        "attention/prefill/f32/L512: PyTorch is faster, 0.80× (0.75–0.90)",
        "attention/prefill/f32/L2048: PyTorch is faster, 0.99× (0.95–1.04), within the spread",
    ]


def test_other_ways_of_ours_are_neither_losses_nor_peers(run):
    sides = run["cases"][0]["sides"]
    sides["fastcore contiguous"] = sides.pop("torch")
    assert report.best_peer(run["cases"][0]) is None
    assert len(report.losses(run)) == 1
    assert "4.8 ms 0.80×" in report.cell(run["cases"][0], "fastcore contiguous")


def test_share_of_a_read_of_the_same_bytes_has_quartiles(run):
    run["cases"][2] |= {"ceiling": registry.BOUND, "fraction": 0.874, "share": [0.874, 0.851, 0.9]}
    assert report.fraction(run["cases"][2]) == "87 % read (85–90)"
    assert "in the same rounds" in "".join(report.machine_lines(run))


def test_less_than_a_percent_is_called_equal(run):
    run["cases"][1]["sides"]["torch"]["ratio"] = [0.997, 0.99, 0.999]
    assert report.losses(run)[1].endswith("L2048: PyTorch is equal within 1 %, 1.00× (0.99–1.00)")


def test_skipped_cases_and_setups_are_listed(run):
    run["skipped"] = ["nn/gelu"]
    assert report.missing(run)[-1] == "nn/gelu: skipped, the time of a quick run was up"
    cases = "`attention/prefill/f32/L512`, `attention/prefill/f32/L2048`"
    assert report.setups(run) == [f"PyTorch, BHLD: {cases}"]
    assert f"- PyTorch, BHLD: {cases}" in report.markdown(run)


def test_threads_are_stated_where_no_variable_sets_them(run):
    run["machine"]["settings"] = {}
    assert report.machine_lines(run)[0].endswith("; 2 threads for every side")


def test_brief_table_has_no_quartiles_and_no_empty_columns(run):
    head, _, first, *_ = report.table(run, brief=True)
    assert head == "| case | fastcore | NumPy | PyTorch | of the ceiling |"
    assert first.endswith("| 6 ms | 30 ms 5.00× | 4.8 ms 0.80× | 83 % FMA |")


def test_failures_and_missing_peers_are_named(run):
    assert report.failures(run) == [
        "attention/prefill/f32/L2048: JAX: wrong result: error 1, tolerance 2e-05",
        "attention/decode/f32/S4096: fastcore: ValueError: no",
    ]
    assert report.missing(run) == ["JAX: jax is not installed (2 cases)"]


def test_table_has_a_row_for_each_case_and_a_column_for_each_side(run):
    head, _, first, second, third = report.table(run)
    assert head == "| case | fastcore | NumPy | PyTorch | JAX | of the ceiling |"
    assert first.endswith("| 6 ms | 30 ms 5.00× (4.50–5.50) | 4.8 ms 0.80× (0.75–0.90) | – | 83 % FMA |")
    assert "| 500 ms (n=3) 5.30× (5.20–5.40) |" in second
    assert "| failed | 85 % FMA |" in second
    assert third.endswith("| failed | 500 ms | – | – | – |")


def test_cases_with_other_sides_have_a_table_of_their_own(run):
    run["peers"].append("fastcore float32")
    run["cases"][1]["sides"]["fastcore float32"] = {"missing": "no reason"}
    assert [len(part) for part in report.parts(run)] == [1, 1, 1]
    heads = [line for line in report.markdown(run).splitlines() if line.startswith("| case")]
    assert heads == [
        "| case | fastcore | NumPy | PyTorch | JAX | of the ceiling |",
        "| case | fastcore | NumPy | PyTorch | JAX | fastcore float32 | of the ceiling |",
        "| case | fastcore | NumPy | JAX | of the ceiling |",
    ]


def test_best_peer_is_not_numpy(run):
    assert [report.best_peer(case) for case in run["cases"]] == ["torch", "torch", None]


def test_markdown_shows_losses_machine_and_what_was_unset(run):
    text = report.markdown(run, ["speedup.png"])
    assert "; thread counts as set in the environment" in text
    for part in ("## Losses", "Test CPU", "OPENBLAS_CORETYPE=Haswell", "torch 2.13.0"):
        assert part in text
    for part in ("float32 FMA 200 GFLOP/s", "read of 256 MiB 40 GB/s", "OMP_NUM_THREADS=2", "(speedup.png)"):
        assert part in text


def test_markdown_says_that_there_are_no_losses(run):
    run["cases"] = [case | {"sides": {k: v for k, v in case["sides"].items() if k != "torch"}} for case in run["cases"]]
    assert "None in this run." in report.markdown(run)
