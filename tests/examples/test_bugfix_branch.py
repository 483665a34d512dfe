"""Debug commits, prints and the fix, stacked: main gets the fix alone, both ways; the user's git is not touched."""

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.bugfix_branch import __main__ as example
from examples.bugfix_branch.git import Git, GitError, GitMissing
from examples.bugfix_branch.keep_only import keep_only
from examples.bugfix_branch.lines import Overlap, merge_lines
from examples.bugfix_branch.situation import WRONG, Prints, edit, make
from examples.bugfix_branch.solutions import by_cherry_pick, by_rebase

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
WAYS = {"rebase": by_rebase, "cherry-pick": by_cherry_pick}
RIGHT = edit(WRONG, ("(len(values) - 1)", "len(values)"))


def mean_of(text, capsys):
    """What mean of 1, 2, 6 is by this program, which prints nothing."""
    names = {}
    exec(text, names)
    capsys.readouterr()
    found = names["mean"]([1.0, 2.0, 6.0])
    assert capsys.readouterr().out == ""
    return found


@needs_git
@pytest.mark.parametrize("prints", [Prints.APART, Prints.NEIGHBOURING])
@pytest.mark.parametrize("way", WAYS)
def test_main_ends_with_the_fix_alone(tmp_path, capsys, way, prints):
    situation = make(tmp_path / "repository", prints)
    git = situation.git
    assert mean_of(git("show", "main:mean.py"), capsys) == 4.5
    landed = WAYS[way](situation)
    assert mean_of(git("show", "main:mean.py"), capsys) == 3.0
    assert git("show", "main:mean.py") + "\n" == RIGHT
    # One commit more than before: the fix, with its message and author.
    assert git("rev-list", f"{situation.start}..main").count("\n") == 0
    assert git("rev-parse", "main~1") == situation.start
    assert git("log", "-1", "--format=%s %an", "main") == "Fix the mean: divide by the number of values Zoe Keeper"
    assert git("diff", "--numstat", "main~1", "main") == "1\t1\tmean.py"
    assert landed.conflicts == ([] if prints == Prints.APART else ["mean.py"])
    assert git("status", "--porcelain=v2", "--branch").splitlines()[1:] == ["# branch.head main"]


@needs_git
def test_both_ways_give_the_same_tree(tmp_path):
    trees = set()
    for prints in (Prints.APART, Prints.NEIGHBOURING):
        for way, land in WAYS.items():
            situation = make(tmp_path / f"{way} {prints}", prints)
            land(situation)
            trees.add(situation.git("rev-parse", "main^{tree}"))
    assert len(trees) == 1


@needs_git
def test_rebase_rewrites_the_branch_and_cherry_pick_leaves_it(tmp_path):
    one, other = (make(tmp_path / name, Prints.APART) for name in ("one", "other"))
    by_rebase(one)
    by_cherry_pick(other)
    assert one.git("rev-parse", "bugfix") == one.git("rev-parse", "main")
    assert other.git("rev-parse", "bugfix") == other.fix
    assert len(one.git.commits()) == 3
    assert len(other.git.commits()) == 7
    assert one.fix in one.git("reflog", "--no-abbrev", "bugfix")


@needs_git
@pytest.mark.parametrize("way", WAYS)
def test_fix_in_the_line_of_a_print_is_left_to_a_human_and_undone(tmp_path, way):
    situation = make(tmp_path / "repository", Prints.SAME_LINE)
    git = situation.git
    before = git("show-ref"), git("status", "--porcelain=v2", "--branch")
    with pytest.raises(Overlap, match=r"mean\.py: Both sides change line 13"):
        WAYS[way](situation)
    assert (git("show-ref"), git("status", "--porcelain=v2", "--branch")) == before
    assert not any((git.folder / ".git" / name).exists() for name in ("rebase-merge", "CHERRY_PICK_HEAD"))


@needs_git
def test_branch_really_has_debug_and_print_commits(tmp_path):
    git = make(tmp_path / "repository", Prints.NEIGHBOURING).git
    subjects = git("log", "--format=%s", "main..bugfix").splitlines()
    assert [subject.split(":")[0] for subject in subjects] == ["Fix the mean", "print", "debug", "debug"]
    assert "print(" in git("show", "bugfix:mean.py")
    assert "breakpoint()" in git("show", "bugfix:mean.py")


@needs_git
def test_settings_hooks_and_repositories_of_the_user_are_neither_read_nor_changed(tmp_path, monkeypatch):
    home = tmp_path / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    config = home / ".gitconfig"
    config.write_text(
        f"[core]\nhooksPath = {hooks}\n[commit]\ngpgSign = true\n[init]\ndefaultBranch = trunk\n[user]\nname = Me\n"
    )
    text = config.read_text()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_SEQUENCE_EDITOR", "false")
    situation = make(tmp_path / "repository", Prints.APART)
    by_rebase(situation)
    assert situation.git("log", "-1", "--format=%an <%ae> %cn", "main") == "Zoe Keeper <zoe@example.com> Zoe Keeper"
    assert situation.git("branch", "--format=%(refname:short)").split() == ["bugfix", "main"]
    assert list((situation.git.folder / ".git").glob("hooks/*")) == []
    assert config.read_text() == text
    assert not (tmp_path / "elsewhere").exists()


@needs_git
def test_git_that_fails_shows_what_git_says(tmp_path):
    with pytest.raises(GitError, match=r"git switch nowhere failed: fatal: invalid reference: nowhere"):
        Git(tmp_path / "repository")("switch", "nowhere")


def test_example_without_git_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("examples.bugfix_branch.git.shutil.which", lambda name: None)
    with pytest.raises(GitMissing):
        Git(tmp_path / "repository")
    assert example.main([]) == 1
    assert "drives git, which is not installed" in capsys.readouterr().err


@needs_git
def test_example_shows_before_and_after_and_draws(tmp_path, capsys):
    picture, folder = tmp_path / "bugfix.png", tmp_path / "kept"
    assert example.main(["--plot", str(picture), "--keep", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.count("* ") == 6 + 3 + 7
    assert "conflict in mean.py" in text
    for way in ("rebase", "cherry-pick"):
        assert f"$ git add mean.py\n$ git {way} --continue\n" in text
    assert "the same both ways" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (folder / "rebase" / "mean.py").read_text() == (folder / "cherry-pick" / "mean.py").read_text() == RIGHT


@needs_git
@pytest.mark.parametrize("name, message", [("b.xyz", "xyz"), ("no/such/b.png", "No such file")])
def test_example_that_cannot_draw_says_so(tmp_path, capsys, name, message):
    assert example.main(["--prints", "apart", "--way", "cherry-pick", "--plot", str(tmp_path / name)]) == 1
    assert message in capsys.readouterr().err


@needs_git
def test_example_that_needs_a_human_says_so(capsys):
    assert example.main(["--prints", "same-line", "--way", "cherry-pick"]) == 1
    assert "a human has to say" in capsys.readouterr().err


def test_example_existing_folder_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        example.main(["--keep", str(tmp_path)])
    assert "--keep must be a new folder" in capsys.readouterr().err


TODO = """\
pick 98f06ef debug: a switch
pick d1210e6 debug: pick this
p 3920c70 print: what comes out
pick fa98b80 Fix the mean

# Rebase 58dcfcc..fa98b80 onto 58dcfcc (4 commands)
# p, pick <commit> = use commit
"""


@pytest.mark.parametrize("commit", ["fa98b80" + 33 * "0", "fa98b80", "fa98"])
def test_keep_only_picks_one_and_drops_the_others(commit):
    lines = keep_only(TODO, commit).splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["drop", "98f06ef"], ["drop", "d1210e6"], ["drop", "3920c70"], ["pick", "fa98b80"],
    ]  # fmt: skip
    assert lines[4:] == TODO.splitlines()[4:]


def test_keep_only_without_the_commit_stops_the_rebase(tmp_path):
    with pytest.raises(ValueError, match="The list has no commit 1234567"):
        keep_only(TODO, "1234567")
    file = tmp_path / "git-rebase-todo"
    file.write_text(TODO)
    script = sys.modules[keep_only.__module__].__file__
    done = subprocess.run([sys.executable, script, "1234567", str(file)], capture_output=True, env={**os.environ})
    assert done.returncode != 0
    assert file.read_text() == TODO


@pytest.mark.parametrize(
    "base, ours, theirs, merged",
    [
        ("abc", "ac", "abX", "aX"),  # neighbours
        ("abc", "ac", "Xbc", "Xc"),
        ("abc", "aYbc", "Xbc", "XYbc"),  # inserted beside a changed line
        ("abc", "abc", "abX", "abX"),
        ("abc", "abX", "abX", "abX"),  # the same on both sides
        ("abc", "", "abc", ""),
        ("", "", "abc", "abc"),
        ("ab", "Xab", "abY", "XabY"),
    ],
)
def test_merge_lines_takes_both_sides(base, ours, theirs, merged):
    base, ours, theirs, merged = ("".join(f"{letter}\n" for letter in text) for text in (base, ours, theirs, merged))
    assert merge_lines(base, ours, theirs) == merge_lines(base, theirs, ours) == merged


@pytest.mark.parametrize(
    "base, ours, theirs", [("abc", "aXc", "aYc"), ("abc", "ac", "aYc"), ("ab", "aXb", "aYb"), ("abcd", "ad", "abXcd")]
)
def test_merge_lines_of_the_same_line_is_refused(base, ours, theirs):
    for one, other in ((ours, theirs), (theirs, ours)):
        with pytest.raises(Overlap):
            merge_lines("\n".join(base), "\n".join(one), "\n".join(other))


@given(st.lists(st.sampled_from("abcdef"), max_size=8), st.lists(st.sampled_from("abcdef"), max_size=8))
def test_merge_lines_with_one_side_unchanged_gives_the_other(base, other):
    base, other = ("".join(f"{line}\n" for line in lines) for lines in (base, other))
    assert merge_lines(base, base, other) == merge_lines(base, other, base) == merge_lines(base, other, other) == other
