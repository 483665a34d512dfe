import threading
import time

import pytest

from benchmarks import machine


def test_work_runs_on_every_thread_at_once():
    together = threading.Barrier(2, timeout=10)
    assert machine.run_on_all_threads(lambda index: together.wait(), 2) < 10
    assert machine.run_on_all_threads(lambda index: time.sleep(0.02 * index), 2) >= 0.015


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_fma_peak_is_a_rate_a_processor_can_have(dtype):
    """Between one scalar operation a cycle and eight 512-bit FMAs of pairs a cycle and thread; no claim on this one."""
    assert 1e8 < machine.fma_peak(dtype, threads=1, trials=1) < 16 * 32 * 6e9


def test_read_bandwidth_is_a_rate_a_memory_can_have():
    assert 1e8 < machine.read_bandwidth(1 << 16, threads=1, trials=1) < 4e12


def test_ceiling_of_one_thread_stands_beside_that_of_all(monkeypatch):
    monkeypatch.setattr(machine, "fma_peak", lambda dtype, threads=2, trials=5: float(threads))
    ceilings = machine.Ceilings()
    ceilings.measure("flops", "float64", 0)
    assert ceilings.measure("flops", "float64", 0, threads=1) == "fma_float64_1thread"
    assert ceilings.values == {"fma_float64": 2.0, "fma_float64_1thread": 1.0}


def test_ceilings_keep_the_fastest(monkeypatch):
    rates = iter([1.0, 3.0, 2.0])
    monkeypatch.setattr(machine, "fma_peak", lambda dtype, threads=None, trials=5: next(rates))
    monkeypatch.setattr(machine, "read_bandwidth", lambda size, trials: float(size))
    ceilings = machine.Ceilings()
    assert [ceilings.measure("flops", "float32", 0) for _ in range(3)] == ["fma_float32"] * 3
    assert ceilings.measure("bytes", "float32", 3_000_000) == "read_4096KiB"
    assert ceilings.measure("bytes", "float32", 1e12) == "read_262144KiB"
    assert ceilings.values == {"fma_float32": 3.0, "read_4096KiB": float(1 << 22), "read_262144KiB": float(1 << 28)}
