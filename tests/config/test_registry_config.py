"""registry.py's command line: the action first, texts as they are, and bad input in one line before torch is loaded."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from one_process import Command, run_all

from wikillama.config.paths import ROOT
from wikillama.config.registry import ACTIONS, arguments, check_registry
from wikillama.errors import InputError

REFUSED = {
    "": "no action: give one of list, show, promote, export, merge, import, sync",
    "lst": "no action lst: give one of list, show, promote, export, merge, import, sync",
    "list version": "version",
    "list foo=1": "foo",
    "list tracking.register_as=null": "tracking.register_as=null: name the registered model",
    "show": "show: give version=NUMBER or version=@ALIAS",
    "show version=latest": "version=latest: give a number such as 3, or an alias such as @champion",
    "show version=0": "version=0: give a number",
    "promote version=3": "promote: give alias=NAME",
    "promote version=3 alias=v7": "alias=v7: give a word such as champion",
    "promote version=3 alias=latest": "alias=latest: give a word such as champion",
    "promote version=3 alias=champion force=true": 'force=true needs reason="..."',
    "promote version=3 alias=champion 'reason=it is better, they say'": "reason= goes with force=true",
    "promote version=3 alias=champion force=maybe": "force='maybe'",
    "export version=3": "export: give out=FOLDER",
    "export version=3 out=src": "out=src: there is something already",
    "merge version=3": "merge: give out=FOLDER",
    "merge version=3 out=/nowhere suite=qa200": "suite=qa200: a merge is measured on turns of dialogues",
    "import": "import: give folder=FOLDER",
    "import folder=/nowhere": "folder=/nowhere: no such folder",
    "import folder=src model.path=/nope": "model.path=/nope: no config.json there",
    "sync": "sync: give to=URI",
}


def test_what_cannot_be_is_one_line_before_torch_is_loaded(tmp_path: Path) -> None:
    commands = [Command("registry.py", shlex.split(line)) for line in REFUSED]
    ends = run_all(commands, ROOT, f"hydra.run.dir={tmp_path}")
    for done, (line, reason) in zip(ends, REFUSED.items(), strict=True):
        assert (done.returncode, done.imported) == (2, []), line
        (said,) = done.stderr.splitlines()
        assert said.startswith("error: "), line
        assert reason in said


def test_help_shows_actions_by_example(tmp_path: Path) -> None:
    (done,) = run_all([Command("registry.py", ["--help"])], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "quantization: " in done.stdout
    conf = (ROOT / "conf" / "registry.yaml").read_text()
    assert all(f"registry.py {action}" in conf for action in ACTIONS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["list"], ["action=list"]),
        (["promote", "version=3", "alias=champion"], ["action=promote", "version=3", "alias=champion"]),
        (["--help"], ["--help"]),
        (["version=3", "show"], ["version=3", "show"]),
        ([], []),
        (["sync", "to=null"], ["action=sync", "to=null"]),
        (["sync", "to='postgresql://h/d'"], ["action=sync", "to='postgresql://h/d'"]),
    ],
)
def test_the_first_word_is_the_action(given: list[str], expected: list[str]) -> None:
    assert arguments(given) == expected


@pytest.mark.parametrize(
    "text",
    [
        "half the size, and as good to people (n = 40)", "it's \"better\"", "[a] {b: c}", "100 % \\ done", "ends \\",
        "a\\'b", "true", "3", "postgresql://me:p,w@host/db?sslmode=require",
    ],
)  # fmt: skip
def test_texts_reach_the_configuration_as_they_are(compose: Callable[..., Any], text: str) -> None:
    for key in ("reason", "out", "folder", "to"):
        assert getattr(compose(*arguments(["sync", f"{key}={text}"]), name="registry"), key) == text


def test_good_commands_are_accepted(compose: Callable[..., Any], tmp_path: Path) -> None:
    for words in (
        ["list"],
        ["show", "version=@champion"],
        ["show", "version=3"],
        ["promote", "version=3", "alias=champion"],
        ["promote", "version=@candidate", "alias=champion", "force=true", "reason=people like it"],
        ["export", "version=3", f"out={tmp_path}"],
        ["merge", "version=3", f"out={tmp_path}/new", "suite=unseen"],
        ["import", f"folder={tmp_path}", "model=tiny", "quantization=none"],
        ["sync", "to=http://127.0.0.1:5000"],
    ):
        check_registry(compose(*arguments(words), name="registry"))


def test_prepared_turns_must_be_there_for_a_merge(compose: Callable[..., Any], tmp_path: Path) -> None:
    cfg = compose(*arguments(["merge", "version=3", f"out={tmp_path}/new", "data.path=/nope"]), name="registry")
    with pytest.raises(InputError, match=r"data\.path=/nope: no such file or folder"):
        check_registry(cfg)
