"""The gallery: every question of the source has a command that exists and is understood, and a small picture."""

import argparse
import importlib
import shlex
from pathlib import Path

import pytest
import typer

from examples import gallery

ENTRIES = gallery.entries()
QUESTIONS = [
    "Attention", "KV cache", "Parallelism", "Metrics", "Git", "Zoo", "Derivatives", "Regularisation", "Polynomial",
]  # fmt: skip


class Understood(Exception):
    """The command line was parsed, and nothing was run."""


def understand(module, arguments, monkeypatch):
    """Parse the arguments of a program with its own parser, which exits if it does not know them."""
    main = getattr(importlib.import_module(module), "main", None)
    if main is None:  # a package with commands
        app = importlib.import_module(f"{module}.cli").app
        command = typer.main.get_command(app).commands[arguments[0]]
        command.make_context(arguments[0], arguments[1:])
        raise Understood
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    main(arguments)


def test_gallery_has_every_question_of_the_source():
    assert [entry.title for entry in ENTRIES] == QUESTIONS


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_gallery_command_exists_and_is_understood(entry, monkeypatch):
    python, option, module, *arguments = shlex.split(entry.command)
    assert (python, option) == ("python", "-m")
    program = gallery.ROOT / module.replace(".", "/")
    if not program.with_suffix(".py").is_file():
        assert (program / "__main__.py").is_file()
        if not (program / "cli.py").is_file():
            module += ".__main__"
    with pytest.raises(Understood):
        understand(module, arguments, monkeypatch)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_gallery_picture_is_there_and_small(entry):
    file = gallery.README.parent / entry.picture
    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.stat().st_size <= gallery.LARGEST_BYTES


def test_gallery_has_no_picture_that_it_does_not_show():
    shown = {Path(entry.picture).name for entry in ENTRIES}
    assert {file.name for file in (gallery.README.parent / "pictures").iterdir()} == shown


def test_gallery_runs_a_command_and_shrinks_its_picture(tmp_path, monkeypatch, capsys):
    readme = tmp_path / "README.md"
    code = "import numpy, PIL.Image as i; i.fromarray(numpy.zeros((100, 2000, 3), 'u1')).save('black.png')"
    readme.write_text(
        f'# Gallery\n\n## Black\n\nText.\n\n```\npython -c "{code}"\n```\n\n![Black](black.png)\n\n'
        "## Broken\n\n```\npython -c 1/0\n```\n\n![Nothing](nothing.png)\n\n## Words alone\n"
    )
    monkeypatch.setattr(gallery, "README", readme)
    found = gallery.entries(readme)
    monkeypatch.setattr(gallery, "entries", lambda: found)
    assert gallery.main(["black"]) == 0
    assert (tmp_path / "black.png").stat().st_size < 2000
    assert gallery.main([]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gallery.main(["white"])


def test_shrink_of_what_stays_too_large_is_refused(tmp_path, rng):
    Image = pytest.importorskip("PIL.Image")
    Image.fromarray(rng.integers(0, 256, (350, 400, 3), dtype="u1")).save(tmp_path / "noise.png")
    with pytest.raises(ValueError, match="does not fit into 60000 bytes"):
        gallery.shrink(tmp_path / "noise.png", tmp_path / "small.png")
