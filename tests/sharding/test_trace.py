"""Traces and pictures: valid files whose times are those of the report."""

import builtins
import itertools
import json
import math

import numpy as np
import pytest

from fastcore.sharding import Link, Mesh, P, device_function, psum, transfer
from fastcore.sharding.ledger import Interval

LINK = Link(latency_s=1e-3, bytes_per_s=1e4, flops_per_s=10.0)


@device_function(flops=lambda x, flops: flops)
def work(x, flops):
    pass


def _program(mesh):
    """A step on all devices, then two stages of one micro-batch, then a sum over all."""
    x = mesh.zeros((8,), np.float64, P("tp"))
    work(x, 5.0)
    psum(x, "tp")
    first = len(mesh.ledger.entries)
    stages, intervals, now = [mesh.at(pp=0), mesh.at(pp=1)], [], 0.0
    arrays = [stage.zeros((4,), np.float64) for stage in stages]
    for i, stage in enumerate(stages):
        with mesh.ledger.scope(f"stage {i}", "forward 0") as span:
            work(arrays[i], 10.0)
        intervals.append(Interval("forward 0", span, stage, now, now + 1.0))
        now += 1.0
        if i == 0:
            with mesh.ledger.scope("stage 0", "send forward 0") as span:
                transfer(arrays[0], stages[1])
            intervals.append(Interval("send forward 0", span, stage, now, now + 0.5))
            now += 0.5
    mesh.ledger.add_pipeline(first, intervals, intervals)
    psum(x, ("pp", "tp"))


def _trace(mesh, path, **options):
    mesh.chrome_trace(path, **options)
    return json.loads(path.read_text(encoding="utf-8"))


def _boxes(trace, thread):
    return [event for event in trace["traceEvents"] if event["ph"] == "X" and event["tid"] == thread]


@pytest.mark.parametrize("engine", ["simulated", "dry"])
def test_chrome_trace_is_valid_and_ends_with_the_report(engine, tmp_path):
    mesh = Mesh({"pp": 2, "tp": 2}, engine=engine, link=LINK)
    _program(mesh)
    trace = _trace(mesh, tmp_path / "trace.json")
    for event in trace["traceEvents"]:
        assert {"ph", "name", "pid", "tid"} <= event.keys()
        assert event["ph"] in "XMC"
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] >= 0
    ends = [event["ts"] + event["dur"] for event in trace["traceEvents"] if event["ph"] == "X"]
    assert max(ends) == pytest.approx(1e6 * mesh.report().time_s[1])
    names = {event["tid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert [names[device] for device in range(4)] == [f"device {device}" for device in range(4)]
    assert trace["otherData"]["devices"] == "4 of 4 shown"
    assert trace["otherData"]["link"]["flops_per_s"] == 10.0


def test_chrome_trace_boxes_of_a_device_do_not_overlap(tmp_path):
    mesh = Mesh({"pp": 2, "tp": 2}, engine="dry", link=LINK)
    _program(mesh)
    trace = _trace(mesh, tmp_path / "trace.json")
    for device in range(4):
        pieces = [event for event in _boxes(trace, device) if event["cat"] != "pipeline"]
        assert [event["name"] for event in pieces] == ["work", "psum tp", "work", "psum pp,tp"]
        for one, other in itertools.pairwise(pieces):
            assert one["ts"] + one["dur"] <= other["ts"] + 1e-6
        (action,) = [event for event in _boxes(trace, device) if event["cat"] == "pipeline"]
        assert action["name"] == "forward 0"
        assert (action["ts"], action["dur"]) == pytest.approx((pieces[2]["ts"], pieces[2]["dur"]))


def test_chrome_trace_sends_stand_in_a_row_of_their_own(tmp_path):
    mesh = Mesh({"pp": 2, "tp": 2}, engine="dry", link=LINK)
    _program(mesh)
    trace = _trace(mesh, tmp_path / "trace.json")
    for device in (0, 1):
        (sent,) = _boxes(trace, 4 + device)
        assert sent["name"] == "transfer pp"
        assert sent["ts"] == pytest.approx(1e6 + _boxes(trace, device)[0]["ts"])
    assert _boxes(trace, 4 + 2) == []


def test_chrome_trace_counts_memory(tmp_path):
    mesh = Mesh({"pp": 2, "tp": 2}, engine="dry", link=LINK)
    kept = mesh.zeros((10,), np.uint8)
    work(kept, 1.0)
    more = mesh.zeros((5,), np.uint8)
    work(more, 1.0)
    trace = _trace(mesh, tmp_path / "trace.json", devices=[3])
    counters = [event for event in trace["traceEvents"] if event["ph"] == "C"]
    assert [event["args"]["bytes"] for event in counters] == [10, 15]
    assert {event["name"] for event in counters} == {"memory of device 3"}


def test_chrome_trace_of_many_devices_shows_one_of_each_kind(tmp_path):
    mesh = Mesh({"dp": 512, "pp": 4, "tp": 32}, engine="dry", link=LINK)
    for stage in range(4):
        x = mesh.at(pp=stage).zeros((512, 2), np.float32, P("dp"))
        work(x, 10.0)
    trace = _trace(mesh, tmp_path / "trace.json")
    names = [event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"]
    assert names == [f"device {32 * stage} and 16,383 alike" for stage in range(4)]
    assert trace["otherData"]["devices"] == "4 of 65,536 shown"
    assert [len(_boxes(trace, 32 * stage)) for stage in range(4)] == [1, 1, 1, 1]


def test_chrome_trace_infinite_speeds_are_valid_json(tmp_path):
    mesh = Mesh({"dp": 2}, engine="dry", link=Link(0.0, math.inf, math.inf))
    work(mesh.zeros((3,), np.float32), 5.0)
    trace = _trace(mesh, tmp_path / "trace.json")
    assert trace["otherData"]["link"] == {"latency_s": 0.0, "bytes_per_s": "infinite", "flops_per_s": "infinite"}


@pytest.mark.parametrize("axes", [{"pp": 2, "tp": 2}, {"pp": 2, "tp": 256}])
@pytest.mark.parametrize("suffix, magic", [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_plot_writes_the_picture(axes, suffix, magic, tmp_path):
    mesh = Mesh(axes, engine="dry", link=LINK)
    x = mesh.zeros((axes["tp"],), np.float64, P("tp"))
    work(x, 5.0)
    psum(x, "tp")
    work(mesh.at(pp=1).zeros((2,), np.float64), 5.0)
    file = tmp_path / f"picture{suffix}"
    mesh.plot(str(file))
    assert file.read_bytes().startswith(magic)


def test_plot_of_nothing(tmp_path):
    Mesh({"dp": 2}, engine="dry").plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize("method, suffix", [("chrome_trace", "json"), ("plot", "png")])
def test_trace_and_plot_wrong_arguments_raise(method, suffix, tmp_path):
    write = getattr(Mesh({"dp": 4}, engine="dry"), method)
    with pytest.raises(ValueError, match=rf"path must end in .*\.{suffix}.* Got '.*a\.txt'"):
        write(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"path must be in a folder that exists; make '.*missing' first\."):
        write(tmp_path / "missing" / f"a.{suffix}")
    folder = tmp_path / f"folder.{suffix}"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"path must be a file\. Got the folder"):
        write(folder)
    with pytest.raises(TypeError, match=r"path must be a string or a path\. Got int\."):
        write(3)
    file = tmp_path / f"a.{suffix}"
    for devices in ([4], [0, 0], [-1], []):
        with pytest.raises(ValueError, match="devices must be distinct numbers between 0 and 3, at least one"):
            write(file, devices=devices)
    for devices in (2, ["first"]):
        with pytest.raises(TypeError, match="devices must be numbers of devices, or None"):
            write(file, devices=devices)
    assert not file.exists()


def test_plot_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    importer = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return importer(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'fastcore-kernels\[plot\]'"):
        Mesh({"dp": 2}, engine="dry").plot(tmp_path / "a.png")
