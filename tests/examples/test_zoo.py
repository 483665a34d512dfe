"""The zoo: what its methods promise, and that no transfer, however it ends, loses an animal or makes two of it."""

import itertools
import linecache
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from examples.zoo import Animal, Health, Step, Zoo, census, errors
from examples.zoo.cli import app
from examples.zoo.records import COLUMNS, Journal, Records
from examples.zoo.stress import CARELESS, Settings, Stuck, careless_transfer, stress


class Failure(BaseException):
    """Not an Exception, as KeyboardInterrupt is none."""


@pytest.fixture
def zoos():
    """Two of three places; the first has a prepared animal, number returned, and one that is not."""
    north, south = Zoo("North", 3), Zoo("South", 3)
    number = north.accommodate("Luna", "lynx").number
    north.accommodate("Otto", "otter", hungry=True)
    north.prepare(number)
    return north, south, number


def state(*zoos):
    """All that can be seen of zoos, rows included."""
    return [(zoo.animals(), zoo.records.numbers.tolist()) for zoo in zoos]


def test_accommodate_gives_a_number_and_keeps_what_is_said():
    zoo = Zoo("Here", 2)
    lynx = zoo.accommodate("Luna", "lynx", health=Health.SICK, hungry=True)
    otter = zoo.accommodate("Otto " * 50, "Lutra lutra Ω")
    assert lynx == Animal(lynx.number, "Luna", "lynx", Health.SICK, True, False, 0)
    assert otter.number > lynx.number > 0
    assert zoo.animals() == [lynx, zoo.animal(otter.number)]
    assert zoo.animal(otter.number).name == "Otto " * 50
    assert [type(value) for value in lynx] == [int, str, str, Health, bool, bool, int]


def test_accommodate_full_is_refused_and_leaves_all_as_it_was():
    zoo = Zoo("Here", 1)
    zoo.accommodate("Luna", "lynx")
    before = state(zoo)
    with pytest.raises(errors.ZooFull, match="Here is full: 1 of 1"):
        zoo.accommodate("Otto", "otter")
    assert state(zoo) == before
    with pytest.raises(errors.ZooFull):
        Zoo("Nowhere", 0).accommodate("Luna", "lynx")


def test_accommodate_what_is_no_name_leaves_the_place_free():
    zoo = Zoo("Here", 1)
    with pytest.raises(ValueError, match="string"):
        zoo.accommodate(None, "lynx")
    with pytest.raises(ValueError, match="7 is not a valid Health"):
        zoo.accommodate("Luna", "lynx", health=7)
    assert len(zoo) == 0
    assert zoo.accommodate("Luna", "lynx").name == "Luna"


def test_capacity_negative_is_refused():
    with pytest.raises(ValueError, match="capacity of Here must not be negative; got -1"):
        Zoo("Here", -1)


def test_health_goes_from_sick_over_rehabilitation_to_healthy():
    zoo = Zoo("Here", 1)
    number = zoo.accommodate("Luna", "lynx", health=Health.SICK).number
    with pytest.raises(errors.AlreadySick):
        zoo.fall_sick(number)
    assert zoo.treat(number) == Health.REHABILITATION
    assert zoo.treat(number) == Health.HEALTHY
    with pytest.raises(errors.NotSick):
        zoo.treat(number)
    assert zoo.fall_sick(number).health == Health.SICK
    assert zoo.treat(number) == Health.REHABILITATION
    assert zoo.fall_sick(number).health == Health.SICK  # a relapse


@pytest.mark.parametrize("health", [Health.SICK, Health.REHABILITATION])
def test_prepare_not_healthy_is_refused(health):
    zoo = Zoo("Here", 1)
    number = zoo.accommodate("Luna", "lynx", health=health).number
    with pytest.raises(errors.NotHealthy, match=health.name):
        zoo.prepare(number)
    assert not zoo.animal(number).prepared


def test_feed_says_whether_it_was_hungry():
    zoo = Zoo("Here", 1)
    number = zoo.accommodate("Luna", "lynx", hungry=True).number
    with pytest.raises(errors.Hungry):
        zoo.prepare(number)
    assert zoo.feed(number) is True
    assert zoo.feed(number) is False
    assert zoo.prepare(number).prepared


@pytest.mark.parametrize("mishap", ["grow_hungry", "fall_sick"])
def test_prepared_animal_that_gets_hungry_or_sick_is_no_longer_prepared(zoos, mishap):
    north, south, number = zoos
    assert not getattr(north, mishap)(number).prepared
    with pytest.raises(errors.NotPrepared):
        north.give(number, south)


@pytest.mark.parametrize("method", ["animal", "feed", "treat", "prepare", "grow_hungry", "fall_sick"])
@pytest.mark.parametrize("number", [0, -1, 10**15])
def test_unknown_animal_is_a_named_error(zoos, method, number):
    with pytest.raises(errors.UnknownAnimal, match=f"North has no animal with the number {number}"):
        getattr(zoos[0], method)(number)


def test_animals_are_chosen_by_what_they_are(zoos):
    north, _, number = zoos
    otto = next(animal for animal in north.animals() if animal.number != number)
    assert north.animals(hungry=True) == north.animals(species="otter") == north.animals(prepared=False) == [otto]
    assert north.animals(health=Health.SICK) == []
    assert len(north.animals(health=Health.HEALTHY, species="lynx")) == 1


def test_give_moves_the_animal(zoos):
    north, south, number = zoos
    arrived = north.give(number, south)
    assert arrived == Animal(number, "Luna", "lynx", journeys=1)
    assert south.animals() == [arrived]
    assert [len(zoo) for zoo in (north, south)] == [1, 1]
    with pytest.raises(errors.UnknownAnimal):
        north.give(number, south)
    south.prepare(number)
    assert south.give(number, north).journeys == 2  # into the place that it left free


def test_give_refuses_and_changes_nothing(zoos):
    north, south, number = zoos
    otto = north.animals(species="otter")[0].number
    full = Zoo("Full", 0)
    before = state(north, south)
    for error, arguments in (
        (errors.SameZoo, (number, north)),
        (errors.NotPrepared, (otto, south)),
        (errors.UnknownAnimal, (otto + 1000, south)),
        (errors.ZooFull, (number, full)),
    ):
        with pytest.raises(error):
            north.give(*arguments)
        assert issubclass(error, errors.ZooError)
        assert state(north, south) == before
        assert not any(zoo.lock.locked() for zoo in (north, south, full))


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_give_that_fails_at_a_step_changes_nothing_or_is_done(zoos, step, back):
    north, south, number = zoos
    source, target = (south, north) if back else (north, south)
    if back:
        north.give(number, south)
        south.prepare(number)
    before, reached = state(source, target), []

    def fail(now):
        reached.append(now)
        if now == step:
            raise Failure

    with pytest.raises(Failure):
        source.give(number, target, fail)
    assert reached == list(Step)[: len(reached)]
    assert not source.lock.locked()
    assert not target.lock.locked()
    if step == Step.DONE:
        assert number in {animal.number for animal in target.animals()} - {animal.number for animal in source.animals()}
    else:
        assert state(source, target) == before
        assert source.give(number, target).number == number


def fail_at_line(count, files):
    """A trace function that raises at a line event of these files, the first being 1."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename not in files:
            return None
        seen += event == "line"
        if event == "line" and seen == count:
            raise Failure(linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip())
        return trace

    return trace


def give_failing_at_line(count, number, source, target, files):
    """The line that was not run; None if there was none."""
    previous = sys.gettrace()
    sys.settrace(fail_at_line(count, files))
    try:
        source.give(number, target)
    except Failure as failure:
        return failure.args[0]
    finally:
        sys.settrace(previous)
    return None


def test_give_that_fails_at_any_line_changes_nothing_or_is_done():
    """Every line that a transfer runs in the transaction, down to the writing of single columns."""
    files = {sys.modules[f"examples.zoo.{name}"].__file__ for name in ("transfer", "records")}
    failures = {"nothing": [], "moved": []}
    for count in itertools.count(1):
        north, south = Zoo("North", 1), Zoo("South", 1)
        number = north.accommodate("Luna", "lynx").number
        north.prepare(number)
        before = state(north, south)
        line = give_failing_at_line(count, number, north, south, files)
        if line is None:
            break
        if north.lock.locked() and line == "with ExitStack() as held:":
            # All is written, and a tracer can raise between a block and its exit, where no signal and no error can.
            north.lock.release()
            south.lock.release()
        assert not north.lock.locked(), line
        assert not south.lock.locked(), line
        found = census(north, south)
        assert found in ({north: [number], south: []}, {north: [], south: [number]}), line
        moved = bool(found[south])
        assert moved or state(north, south) == before, line
        failures["moved" if moved else "nothing"].append(line)
    assert len(failures["nothing"]) > 50
    assert "column[row] = value" in failures["nothing"]
    assert failures["moved"][0] == "with ExitStack() as held:"
    assert failures["moved"][-1] == "return arrived"


def test_row_without_its_number_is_free():
    records, journal = Records(2), Journal()
    records.put(0, Animal(5, "Luna", "lynx"), journal)
    records.put(1, Animal(6, "Otto", "otter"), journal)
    assert records.free_row() is None
    journal.undo()
    assert len(records) == 0
    assert records.free_row() == 0
    assert records.columns["name"].tolist() == ["Luna", "Otto"]  # left over, of nobody


def test_columns_are_the_fields_of_an_animal():
    assert tuple(COLUMNS) == Animal._fields
    records = Records(4)
    assert all(isinstance(column, np.ndarray) and len(column) == 4 for column in records.columns.values())


def test_census_is_of_one_moment_and_waits_for_transfers(zoos):
    north, south, number = zoos
    found = []
    auditor = threading.Thread(target=lambda: found.append(census(south, north)), daemon=True)

    def on_step(step):
        if step == Step.ARRIVED:  # it is in both tables now
            auditor.start()
            auditor.join(0.05)
            assert not found

    north.give(number, south, on_step)
    auditor.join(10)
    assert found[0][south] == [number]
    assert number not in found[0][north]


def test_opposite_transfers_do_not_wait_for_each_other():
    north, south = Zoo("North", 2), Zoo("South", 2)
    numbers = [zoo.accommodate("Luna", "lynx").number for zoo in (north, south)]
    both = threading.Barrier(2)

    def back_and_forth(number, here, there):
        both.wait()
        for _ in range(500):
            here.prepare(number)
            here.give(number, there)
            here, there = there, here

    threads = [
        threading.Thread(target=back_and_forth, args=arguments, daemon=True)
        for arguments in ((numbers[0], north, south), (numbers[1], south, north))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert census(north, south) == {north: [numbers[0]], south: [numbers[1]]}


def test_stress_of_32_threads_and_100_000_transfers_loses_and_doubles_none():
    outcome = stress(Settings())
    assert outcome.completed == outcome.journeys == 100_000
    assert outcome.lost == outcome.doubled == []
    assert outcome.wrong_audits == 0
    assert outcome.is_right
    assert set(outcome.injected) == set(Step)
    assert min(outcome.injected.values()) > 1000
    assert {"SameZoo", "ZooFull", "UnknownAnimal"} <= set(outcome.refused)
    assert {sum(counts) for counts in outcome.populations} == {200}
    assert {len(counts) for counts in outcome.populations} == {8}
    assert max(max(counts) for counts in outcome.populations) == Settings().capacity == 30


def test_stress_finds_what_careless_transfers_do():
    outcome = stress(CARELESS, careless_transfer, 0.002)
    assert outcome.doubled
    assert not outcome.is_right


def test_stress_that_cannot_go_on_says_so(monkeypatch):
    monkeypatch.setattr("examples.zoo.stress.PATIENCE", 0.2)
    with pytest.raises(Stuck, match="No transfer was completed"):
        stress(Settings(zoos=2, capacity=5, animals=10, threads=2, transfers=10, failures=0))


def test_stress_shows_what_went_wrong_in_a_thread():
    def broken(*arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stress(Settings(threads=2, transfers=10), broken)


def test_cli_day_shows_the_refusals():
    result = CliRunner().invoke(app, ["day"])
    assert result.exit_code == 0, result.output
    for name in ("NotPrepared", "NotHealthy", "NotSick", "ZooFull", "SameZoo", "UnknownAnimal"):
        assert f"refused, {name}" in result.output


def test_cli_stress_counts_and_draws(tmp_path):
    file = tmp_path / "zoo.png"
    result = CliRunner().invoke(app, ["stress", "--threads", "4", "--transfers", "500", "--plot", str(file)])
    assert result.exit_code == 0, result.output
    assert "lost 0, there twice 0" in result.output
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threads", "0"],
        ["--failures", "1.5"],
        ["--transfers", "0"],
        ["--plot", "zoo.xyz"],
        ["--plot", "no/such/zoo.png"],
    ],
)
def test_cli_stress_wrong_option_is_refused_before_the_work(arguments, monkeypatch):
    monkeypatch.setattr("examples.zoo.cli.stress", None)
    result = CliRunner().invoke(app, ["stress", *arguments])
    assert result.exit_code == 2, result.output
    assert arguments[0] in result.output


def test_cli_runs_as_a_folder_from_anywhere(tmp_path):
    folder = Path(__file__).parents[2] / "examples" / "zoo"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(folder), "day"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "refused, NotHealthy" in done.stdout


def test_readme_program_runs(capsys):
    text = (Path(__file__).parents[2] / "examples" / "zoo" / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    exec(program, {})
    assert "name='Luna'" in capsys.readouterr().out
