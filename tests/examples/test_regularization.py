"""Penalties against scikit-learn, the network's gradients against differences, and what the command says."""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest

from examples import regularization as example
from examples.regularized import digits, linear
from examples.regularized.network import BATCH, CLASSES, FEATURES, Network, Plan, mean_loss
from fastcore import nn


@pytest.fixture(scope="module")
def data():
    return linear.load()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the command, short: its status, what it printed, and its folder."""
    folder, printed = tmp_path_factory.mktemp("regularization") / "new", io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = example.main(["--output", str(folder), "--seeds", "2", "--epochs", "2"])
    return SimpleNamespace(status=status, text=printed.getvalue(), folder=folder)


def test_example_finds_nothing_wrong(run):
    assert run.status == 0
    for word in ("L1 (lasso)", "elastic net", "no penalty", "dropout 0.3", "batch norm", "unclear"):
        assert word in run.text
    assert max(len(line) for line in run.text.splitlines() if "Written" not in line) <= 118


def test_example_writes_its_picture(run):
    (file,) = run.folder.iterdir()
    assert file.name == "regularization.png"
    assert file.read_bytes().startswith(b"\x89PNG")
    assert str(file) in run.text


def test_columns_are_those_of_the_paper(data):
    assert data.x.shape == (442, 64)
    assert len(set(data.names)) == 64
    np.testing.assert_allclose(data.x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.x.std(axis=0), 1)
    np.testing.assert_allclose(
        data.x[:, data.names.index("bmi")], nn.batch_norm(data.x, None, None, training=True, eps=0.0)[:, 2]
    )


@pytest.mark.parametrize("penalty", linear.PENALTIES, ids=lambda penalty: penalty.name)
@pytest.mark.parametrize("alpha", [0.3, 3.0])
def test_weights_are_those_of_scikit_learn(data, penalty, alpha):
    found = linear.agreement(data, penalty, alpha)
    assert found.difference < 1e-8
    assert found.zeros[0] == found.zeros[1]
    assert found.excess < 1e-12


def test_l1_sets_to_zero_and_l2_shrinks(data):
    strengths = np.array([50.0, 5.0, 0.5])
    ridge, lasso, both = (linear.path(data.x, data.y, penalty, strengths) for penalty in linear.PENALTIES)
    zeros = [np.sum(weights == 0.0, axis=1) for weights in (ridge, lasso, both)]
    assert zeros[0].tolist() == [0, 0, 0]
    assert zeros[1][0] == 64 > zeros[1][1] > zeros[1][2] > 0
    assert np.all(zeros[2] <= zeros[1])
    assert np.all(np.diff(np.linalg.norm(ridge, axis=1)) > 0)


def test_penalties_are_worth_something_on_new_patients(data):
    scores = linear.compare(data, 2, np.array([3.0, 0.3]))
    plain = np.mean([score.r2_test for score in scores.pop("no penalty")])
    assert all(np.mean([score.r2_test for score in found]) > plain + 0.2 for found in scores.values())


PLANS = [Plan("none"), Plan("batch norm", batch_norm=True), Plan("all", dropout=0.4, batch_norm=True)]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_gradients_are_differences_of_the_loss(rng, plan):
    network = Network(plan, hidden=9, seed=1)
    network.params = {name: x.astype(np.float64) for name, x in network.params.items()}
    network.running = {name: x.astype(np.float64) for name, x in network.running.items()}
    x, labels = rng.normal(size=(12, FEATURES)), rng.integers(CLASSES, size=12)

    def loss():
        network._drawn = 0  # the same masks each time
        output, saved = network.forward(x, training=True)
        return mean_loss(output, labels), output, saved

    grads = network.backward(*loss()[1:], labels)
    assert grads.keys() == network.params.keys()
    for name, param in network.params.items():
        direction = rng.normal(size=param.shape)
        step, start = 1e-6, param.copy()
        values = []
        for sign in (1, -1):
            network.params[name] = start + sign * step * direction
            values.append(loss()[0])
        network.params[name] = start
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(
            np.vdot(grads[name], direction), rel=1e-5, abs=1e-8
        )


def test_batch_norm_merged_is_the_same_at_inference(rng):
    network = Network(PLANS[1], hidden=16, seed=0)
    x, labels = digits.load()
    network.train(x[:200], labels[:200], 1e-2)
    np.testing.assert_allclose(network.without_batch_norm().forward(x)[0], network.forward(x)[0], atol=1e-4)
    assert not network.without_batch_norm().running


def test_dropout_is_of_training_alone_and_never_the_same(rng):
    network = Network(Plan("dropout", dropout=0.5), hidden=16, seed=0)
    x = rng.normal(size=(BATCH, FEATURES)).astype(np.float32)
    np.testing.assert_array_equal(network.forward(x)[0], network.forward(x)[0])
    assert np.any(network.forward(x, training=True)[0] != network.forward(x, training=True)[0])


def test_training_is_seeded_and_learns():
    data = digits.load()
    plan = Plan("l1", l1=0.3)
    first, second = (digits.train(data, plan, epochs=12, seed=3, hidden=32) for _ in range(2))
    assert first._replace(losses=0, accuracies=0, folded=0) == second._replace(losses=0, accuracies=0, folded=0)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.accuracies[-1] > 0.7
    assert 0.01 < first.zeros < 0.9


def test_effect_of_nothing_is_not_seen():
    assert not digits.effect([1.0, 2.0, 3.0], [1.1, 1.9, 3.0]).is_seen
    found = digits.effect([1.0, 2.0, 3.0], [2.0, 3.1, 4.0])
    assert found.is_seen
    assert found.mean == pytest.approx(-3.1 / 3)


def test_wrong_number_ends_with_status_1(monkeypatch, capsys, tmp_path):
    wrong = linear.Agreement("L1", 1.0, 1e-3, 0.0, (3, 4))
    course = digits.Course(np.ones(1), np.ones(1), 1.0, 1.0, 0.0, 1.0, 0.5)
    monkeypatch.setattr(example, "run", lambda options: ([wrong], {"batch norm": [course]}))
    assert example.main(["--output", str(tmp_path)]) == 1
    assert "is not scikit-learn's" in (said := capsys.readouterr().err)
    assert "batch norm merged differ by 5e-01" in said


def test_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setattr(example, "find_spec", lambda name: None if name == "rich" else object())
    assert example.main([]) == 1
    assert "needs rich. Install with: pip install" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--seeds", "1"], ["--epochs", "0"]])
def test_options_out_of_range_are_refused(capsys, options):
    with pytest.raises(SystemExit):
        example.main(options)
    assert f"{options[0]} must" in capsys.readouterr().err
