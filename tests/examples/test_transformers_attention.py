"""The example that compares attention in transformers' models."""

import pytest

from examples import transformers_attention as example


@pytest.mark.peer
@pytest.mark.filterwarnings("default")  # deprecations inside of the libraries
def test_comparison_of_a_ragged_batch_shows_three_close_implementations(capsys):
    try:
        example.require()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    assert example.main(["--model", "minilm", "--tokens", "20", "--batch", "3", "--ragged", "--rounds", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "minilm" in line]
    assert [line[5] for line in lines] == ["fastcore", "sdpa", "eager"]
    assert all(float(line[-1]) < 1e-5 for line in lines)


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--rounds", "0"], "--rounds must be at least 1; got 0"),
        (["--tokens", "8", "0"], "--tokens must be at least 1; got 0"),
        (["--tokens", "600"], "MiniLM takes up to 512 tokens"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, text, capsys):
    with pytest.raises(SystemExit):
        example.parse(arguments)
    assert text in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setattr(example, "find_spec", lambda name: None if name == "gguf" else name)
    assert example.main([]) == 1
    assert "pip install gguf" in capsys.readouterr().err
