"""prepare.py as a user runs it: what it prints, what a second run costs, and how bad input ends."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from wikillama.config.paths import ROOT, portable
from wikillama.data.wow import SPLIT_FILES

Done = subprocess.CompletedProcess[str]

MINI = ROOT / "data" / "wow_mini"
SPLITS = ("train", "valid_seen", "valid_unseen", "test_seen", "test_unseen")
# a script, told how large a file may grow (0: any size), that says at its end which libraries it has needed
PROBE = """
import atexit, resource, runpy, sys
if int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
atexit.register(lambda: print("imported:", *sorted({"torch", "transformers", "lightning"} & sys.modules.keys())))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(script: str, overrides: str, folder: Path, file_limit: int = 0) -> Done:
    given = [*overrides.split(), f"cache_dir={folder / 'cache'}", f"hydra.run.dir={folder / 'out'}"]
    command = [sys.executable, "-c", PROBE, str(file_limit), str(ROOT / script), *given]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


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


class Archived(NamedTuple):
    """A corpus that came in an archive: prepared, prepared again, and with a checksum that is not the archive's."""

    folder: Path
    digest: str
    done: Done
    again: Done
    wrong: Done


def prepared_from_an_archive(folder: Path) -> Archived:
    """One with a broken dialogue, and without one of the splits."""
    corpus = folder / "wizard_of_wikipedia"
    shutil.copytree(MINI, corpus, ignore=shutil.ignore_patterns("source", "*.md", "*.py", SPLIT_FILES["test_unseen"]))
    train = (corpus / "train.json").read_bytes()
    (corpus / "train.json").write_bytes(b'[{"chosen_topic": "Tea", "dialog": []}, ' + train[train.index(b"{") :])
    archive = folder / "corpus.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(corpus, corpus.name)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    command = f"model=tiny data=wow data.archive={archive} data.on_bad_row=skip data.sha256="
    return Archived(folder, digest, *(run("prepare.py", command + d, folder) for d in (digest, digest, "0" * 64)))


@pytest.fixture(scope="module")
def archived(pool: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> "Future[Archived]":
    return pool.submit(prepared_from_an_archive, tmp_path_factory.mktemp("archived"))


class Runs(NamedTuple):
    """The same command three times: on a full disk, on a mended one, and once more."""

    folder: Path
    full: Done
    left: list[str]  # in the cache, by the first of them
    first: Done
    made: dict[Path, int]  # by the second of them: the files and when they were written
    second: Done


@pytest.fixture(scope="module")
def runs(archived: "Future[Archived]", tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("prepare")
    command = "model=tiny data=wow_mini packing=bestfit packing.length=4096"
    full = run("prepare.py", command, folder, file_limit=100_000)
    left = made_of(folder)
    first = run("prepare.py", command, folder)
    made = {path: path.stat().st_mtime_ns for path in (folder / "cache" / "prepared").glob("*/*")}
    return Runs(folder, full, left, first, made, run("prepare.py", command, folder))


def test_a_full_disk_is_one_line_and_leaves_nothing(runs: Runs) -> None:
    line = refused(runs.full)
    assert f"cache_dir={runs.folder / 'cache'}: cannot be written" in line
    assert "free space there" in line
    assert runs.left == ["wow_mini-train.lock"]
    assert {path.suffix for path in (runs.folder / "cache" / "hashes").iterdir()} == {".json"}


def test_it_prints_what_came_out(runs: Runs) -> None:
    assert (runs.first.returncode, runs.first.stderr) == (0, "")
    counts = table(runs.first.stdout)
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
    assert re.search(r"packing +train: 357 turns in \d+ rows of 4,096 tokens, \d\.\d% of them", runs.first.stdout)
    assert "5 made, 0 found" in runs.first.stdout
    assert "transformers" in runs.first.stdout.splitlines()[-1]
    assert made_of(runs.folder) == sorted(f"wow_mini-{split}{end}" for split in SPLITS for end in ("", ".lock"))
    (report,) = (path for path in runs.made if path.name == "label_report.html")
    assert report.parent.name.startswith("wow_mini-train-")
    assert portable(str(report)) in runs.first.stdout
    assert "what it learns: train" in report.read_text(encoding="utf-8")


def test_a_second_run_finds_everything_and_needs_no_torch(runs: Runs) -> None:
    assert (runs.second.returncode, runs.second.stderr) == (0, "")
    assert "0 made, 5 found" in runs.second.stdout
    assert runs.second.stdout.splitlines()[-1] == "imported:"
    assert table(runs.second.stdout) == table(runs.first.stdout)
    assert {path: path.stat().st_mtime_ns for path in runs.made} == runs.made


def test_the_shipped_dialogues_pass_their_check(tmp_path: Path) -> None:
    done = run("prepare.py", "data=wow_mini check=true", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = table(done.stdout)
    assert len(found) >= 8
    assert all(int(held.replace(",", "")) > 0 and broken == "0" for held, broken in found.values())
    assert not (tmp_path / "cache" / "prepared").exists()
    assert done.stdout.splitlines()[-1] == "imported:"


def test_a_damaged_copy_fails_the_check(tmp_path: Path) -> None:
    shutil.copytree(MINI, tmp_path / "corpus")
    file = tmp_path / "corpus" / "test_random_split.json"
    dialogues = json.loads(file.read_text(encoding="utf-8"))
    turn = next(t for t in dialogues[4]["dialog"] if t.get("checked_sentence", {}).keys() - {"no_passages_used"})
    turn["checked_sentence"] = {"tea": "Tea is made of stones."}
    file.write_text(json.dumps(dialogues), encoding="utf-8")
    line = refused(run("prepare.py", f"data=wow_mini data.path={tmp_path / 'corpus'} check=true", tmp_path))
    assert "1 faults" in line
    assert "test_random_split:4" in line
    assert "Tea is made of stones." in line


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


@pytest.fixture(scope="module")
def tried(
    pool: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Path], dict[str, "Future[Done]"]]:
    """The files that are named in BAD, and how each command ends."""
    folder = tmp_path_factory.mktemp("bad")
    files = {"rows": folder / "rows.jsonl", "broken": folder / "broken.tgz", "empty": folder / "empty"}
    files["rows"].write_text('{"Context": "a EOS b", "Knowledge": "k", "Response": "c"}\n')
    files["broken"].write_bytes(b"\x1f\x8bnothing of the kind")
    files["empty"].mkdir()
    commands = {bad: bad.format(**files).split(" ", 1) for bad in BAD}
    ends = {
        bad: pool.submit(run, script, f"model=tiny {overrides}", folder)
        for bad, (script, overrides) in commands.items()
    }
    return files, ends


@pytest.mark.parametrize(("command", "named"), BAD.items(), ids=BAD)
def test_bad_input_is_one_line_and_code_2(
    tried: tuple[dict[str, Path], dict[str, "Future[Done]"]], command: str, named: str
) -> None:
    files, ends = tried
    done = ends[command].result()
    assert named.format(**files) in refused(done)
    assert done.stdout.splitlines()[-1] == "imported:"


def test_an_archive_serves_from_end_to_end(archived: "Future[Archived]") -> None:
    folder, digest, done, again, wrong = archived.result()
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
    assert again.stdout.splitlines()[-1] == "imported:"
    assert f"corpus.tgz: has sha256 {digest[:12]}, expected 000000000000" in refused(wrong)
