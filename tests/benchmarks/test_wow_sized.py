"""Corpora of any size for measurements: readable, of the number asked for, and with nothing said twice."""

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.data.wow import OFFICIAL_COUNTS, SPLIT_FILES, TOPIC_SPLITS, read_wow

MINI = ROOT / "data" / "wow_mini"
DIALOGUES = 120


@pytest.fixture(scope="module")
def made(wow_sized: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = wow_sized.write(tmp_path_factory.mktemp("sized") / "corpus", DIALOGUES)
    return path


def test_it_reads_back(made: Path) -> None:
    raw = json.loads(made.read_text(encoding="utf-8"))
    with made.open("rb") as file:
        dialogues = list(read_wow(file, "train", str(made)))
    assert len(dialogues) == len(raw) == DIALOGUES
    mean = OFFICIAL_COUNTS["train"][1] / OFFICIAL_COUNTS["train"][0]
    assert abs(sum(len(d.turns) for d in dialogues) / DIALOGUES - mean) < 0.2
    for dialogue, source in zip(dialogues, raw, strict=True):
        assert [turn.text for turn in dialogue.turns] == [turn["text"] for turn in source["dialog"]]
        speakers = [turn.speaker for turn in dialogue.turns]
        assert all(a != b for a, b in pairwise(speakers))
        assert all(len(turn.passages) == 7 for turn in dialogue.turns)
    assert {dialogue.turns[0].speaker for dialogue in dialogues} == {"wizard", "apprentice"}


def test_most_turns_are_said_once(made: Path) -> None:
    raw = json.loads(made.read_text(encoding="utf-8"))
    said = Counter(turn["text"] for dialogue in raw for turn in dialogue["dialog"])
    once = sum(count == 1 for count in said.values())
    assert once > 0.95 * said.total()
    shipped = json.loads((MINI / "train.json").read_text(encoding="utf-8"))
    known = {turn["text"] for dialogue in shipped for turn in dialogue["dialog"]}
    assert sum(count for text, count in said.items() if text in known) < 0.05 * said.total()


def test_turns_weigh_what_the_originals_do(made: Path) -> None:
    """The original train.json has about 950 MB (18,430 dialogues)."""
    assert made.stat().st_size / DIALOGUES * OFFICIAL_COUNTS["train"][0] == pytest.approx(950e6, rel=0.1)


def test_the_other_files_are_the_shipped_ones(made: Path) -> None:
    names = {*SPLIT_FILES.values(), TOPIC_SPLITS}
    assert {path.name for path in made.parent.iterdir()} == names
    for name in names - {"train.json"}:
        assert (made.parent / name).read_bytes() == (MINI / name).read_bytes()


def test_it_depends_on_its_seed_alone(wow_sized: Any, tmp_path: Path) -> None:
    one, again, other = (wow_sized.write(tmp_path / str(i), 3, seed).read_bytes() for i, seed in enumerate((0, 0, 1)))
    assert one == again != other


def test_as_a_command(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "wow_sized.py"), str(tmp_path / "out"), "--dialogues", "5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path / 'out' / 'train.json'}: ")
    assert len(json.loads((tmp_path / "out" / "train.json").read_text(encoding="utf-8"))) == 5
