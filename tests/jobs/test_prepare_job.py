"""prepare.py as a user runs it: what it prints, what a second run costs, and how bad input ends."""

import hashlib
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest
from one_process import Command, Done, run_all

from wikillama.config.paths import ROOT, portable
from wikillama.data.wow import SPLIT_FILES

MINI = ROOT / "data" / "wow_mini"
SPLITS = ("train", "valid_seen", "valid_unseen", "test_seen", "test_unseen")


def command(overrides: str, folder: Path, script: str = "prepare.py", file_limit: int = -1) -> Command:
    """One that leaves all in `folder`."""
    given = [*overrides.split(), f"cache_dir={folder / 'cache'}", f"hydra.run.dir={folder / 'out'}"]
    return Command(script, given, file_limit)


def table(shown: str) -> dict[str, list[str]]:
    """The rows of the printed table by their first cell."""
    rows: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if "│" in line:
            name, *cells = (cell.strip() for cell in line.strip("│").split("│"))
            if name:
                rows[name] = cells
            else:  # cells that did not fit their column go on in the next line
                name = list(rows)[-1]
                rows[name] = [f"{a} {b}".strip() for a, b in zip(rows[name], cells, strict=True)]
    return rows


def refused(done: Done) -> str:
    """The one line that a refusal is."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def made_of(folder: Path) -> list[str]:
    return sorted(re.sub(r"-[0-9a-f]{16}", "", path.name) for path in (folder / "cache" / "prepared").iterdir())


def archive_in(folder: Path) -> str:
    """The sha256 of `corpus.tgz`, a corpus with a broken dialogue, and without one of the splits."""
    corpus = folder / "wizard_of_wikipedia"
    shutil.copytree(MINI, corpus, ignore=shutil.ignore_patterns("source", "*.md", "*.py", SPLIT_FILES["test_unseen"]))
    train = (corpus / "train.json").read_bytes()
    (corpus / "train.json").write_bytes(b'[{"chosen_topic": "Tea", "dialog": []}, ' + train[train.index(b"{") :])
    with tarfile.open(folder / "corpus.tgz", "w:gz") as tar:
        tar.add(corpus, corpus.name)
    return hashlib.sha256((folder / "corpus.tgz").read_bytes()).hexdigest()


def damaged_in(folder: Path) -> Path:
    """A copy of the shipped dialogues with a sentence that no passage holds."""
    shutil.copytree(MINI, folder / "corpus")
    file = folder / "corpus" / "test_random_split.json"
    dialogues = json.loads(file.read_text(encoding="utf-8"))
    turn = next(t for t in dialogues[4]["dialog"] if t.get("checked_sentence", {}).keys() - {"no_passages_used"})
    turn["checked_sentence"] = {"tea": "Tea is made of stones."}
    file.write_text(json.dumps(dialogues), encoding="utf-8")
    return folder / "corpus"


def bad_files_in(folder: Path) -> dict[str, Path]:
    """The files that are named in BAD."""
    files = {"rows": folder / "rows.jsonl", "broken": folder / "broken.tgz", "empty": folder / "empty"}
    files["rows"].write_text('{"Context": "a EOS b", "Knowledge": "k", "Response": "c"}\n')
    files["broken"].write_bytes(b"\x1f\x8bnothing of the kind")
    files["empty"].mkdir()
    return files


BAD = {
    "prepare.py data=wow_mini packing=bestfit packing.length=256": "packing.length=256",
    "prepare.py data=jsonl data.train={rows} knowledge=retrieved": "knowledge=retrieved",
    "prepare.py data=jsonl data.train={rows} check=true": "check=true",
    "prepare.py data=wow data.archive={broken}": "broken.tgz: has sha256",
    "prepare.py data=wow data.archive={broken} data.sha256=null": "broken.tgz: broken, or no .tgz or .tar archive",
    "prepare.py data=wow data.url=http://127.0.0.1:9/corpus.tgz": "data.archive=",
    "prepare.py data=wow_mini data.path={empty}": "{empty}",
    "evaluate.py data=wow_mini knowledge=mixed": "knowledge=mixed is for training",
}


class Runs(NamedTuple):
    """Commands in three processes: what needs a tokenizer, one of these once more, and all that needs none."""

    mini: Path  # the folder of "full", "first" and "again": one command on a full disk, on a mended one, once more
    left: list[str]  # in the cache, by "full"
    made: dict[Path, int]  # by "first": the files and when they were written
    archived: Path  # the folder of "archive", "archive again" and "archive wrong", which gives another checksum
    digest: str
    checks: Path  # the folder of "check" and "check damaged"
    files: dict[str, Path]  # that are named in BAD
    ends: dict[str, Done]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    mini, archived, checks, bad = (tmp_path_factory.mktemp(n) for n in ("mini", "archived", "checks", "bad"))
    digest, corpus, files = archive_in(archived), damaged_in(checks), bad_files_in(bad)
    small = "model=tiny data=wow_mini packing=bestfit packing.length=4096"
    packed = f"model=tiny data=wow data.archive={archived / 'corpus.tgz'} data.on_bad_row=skip data.sha256="
    full, archive = run_all([command(small, mini, file_limit=100_000), command(packed + digest, archived)], mini)
    left = made_of(mini)
    (first,) = run_all([command(small, mini)], mini)
    made = {path: path.stat().st_mtime_ns for path in (mini / "cache" / "prepared").glob("*/*")}
    light = {
        "again": command(small, mini),
        "archive again": command(packed + digest, archived),
        "archive wrong": command(packed + "0" * 64, archived),
        "check": command("data=wow_mini check=true", checks),
        "check damaged": command(f"data=wow_mini data.path={corpus} check=true", checks),
    }
    for one in BAD:
        script, overrides = one.format(**files).split(" ", 1)
        light[one] = command(f"model=tiny {overrides}", bad, script)
    ends = {"full": full, "first": first, "archive": archive}
    ends |= zip(light, run_all(list(light.values()), bad), strict=True)
    return Runs(mini, left, made, archived, digest, checks, files, ends)


def test_a_full_disk_is_one_line_and_leaves_nothing(runs: Runs) -> None:
    line = refused(runs.ends["full"])
    assert f"cache_dir={runs.mini / 'cache'}: cannot be written" in line
    assert "free space there" in line
    assert runs.left == ["wow_mini-train.lock"]
    assert {path.suffix for path in (runs.mini / "cache" / "hashes").iterdir()} == {".json"}


def test_it_prints_what_came_out(runs: Runs) -> None:
    first = runs.ends["first"]
    assert (first.returncode, first.stderr) == (0, "")
    counts = table(first.stdout)
    assert list(counts) == [*SPLITS, "all"]
    for split in SPLITS:
        raw = json.loads((MINI / SPLIT_FILES[split]).read_text(encoding="utf-8"))
        turns = [turn for dialogue in raw for turn in dialogue["dialog"]]
        wizards = [turn for turn in turns if turn["speaker"].endswith("Wizard")]
        unused = sum("no_passages_used" in turn["checked_sentence"] for turn in wizards)
        topics = len({dialogue["chosen_topic"] for dialogue in raw})
        expected = (len(raw), len(turns), topics, len(wizards), unused)
        assert counts[split][:5] == [f"{n:,}" for n in expected]
        assert re.fullmatch(r"history \d+", counts[split][-1])
    assert counts["all"][:2] == ["120", "1,214"]
    assert re.search(r"packing +train: 357 turns in \d+ rows of 4,096 tokens, \d\.\d% of them", first.stdout)
    assert "5 made, 0 found" in first.stdout
    assert "transformers" in first.imported
    assert made_of(runs.mini) == sorted(f"wow_mini-{split}{end}" for split in SPLITS for end in ("", ".lock"))
    (report,) = (path for path in runs.made if path.name == "label_report.html")
    assert report.parent.name.startswith("wow_mini-train-")
    assert portable(str(report)) in first.stdout
    assert "what it learns: train" in report.read_text(encoding="utf-8")


def test_a_second_run_finds_everything_and_needs_no_torch(runs: Runs) -> None:
    first, again = runs.ends["first"], runs.ends["again"]
    assert (again.returncode, again.stderr) == (0, "")
    assert "0 made, 5 found" in again.stdout
    assert again.imported == []
    assert table(again.stdout) == table(first.stdout)
    assert {path: path.stat().st_mtime_ns for path in runs.made} == runs.made


def test_the_shipped_dialogues_pass_their_check(runs: Runs) -> None:
    done = runs.ends["check"]
    assert (done.returncode, done.stderr) == (0, "")
    found = table(done.stdout)
    assert len(found) >= 8
    assert all(int(held.replace(",", "")) > 0 and broken == "0" for held, broken in found.values())
    assert not (runs.checks / "cache" / "prepared").exists()
    assert done.imported == []


def test_a_damaged_copy_fails_the_check(runs: Runs) -> None:
    line = refused(runs.ends["check damaged"])
    assert "1 faults" in line
    assert "test_random_split:4" in line
    assert "Tea is made of stones." in line


@pytest.mark.parametrize(("command", "named"), BAD.items(), ids=BAD)
def test_bad_input_is_one_line_and_code_2(runs: Runs, command: str, named: str) -> None:
    done = runs.ends[command]
    assert named.format(**runs.files) in refused(done)
    assert done.imported == []


def test_an_archive_serves_from_end_to_end(runs: Runs) -> None:
    folder, digest = runs.archived, runs.digest
    done, again, wrong = (runs.ends[name] for name in ("archive", "archive again", "archive wrong"))
    assert (done.returncode, done.stderr) == (0, "")
    counts = table(done.stdout)
    assert list(counts) == ["train", "valid_seen", "valid_unseen", "test_seen", "all"]
    assert counts["train"][:2] == ["70 of 18,430", "706 of 166,787"]  # the official counts stand beside
    assert counts["all"][:2] == ["110 of 22,311", "1,106 of 201,999"]
    assert "left out: " in done.stdout
    (corpus,) = (path for path in (folder / "cache" / "corpora").iterdir() if path.is_dir())
    assert corpus.name == f"wow-{digest[:16]}"
    (aside,) = (folder / "cache" / "prepared").glob("wow-train-*/quarantine.jsonl")
    assert f"bad rows      train: 1, in {portable(str(aside))}\n" in done.stdout
    assert f"such as {corpus / 'train.json'}: dialogue 1: the dialogue has no turns" in done.stdout
    assert "0 made, 4 found" in again.stdout
    assert again.imported == []
    assert f"corpus.tgz: has sha256 {digest[:12]}, expected 000000000000" in refused(wrong)
