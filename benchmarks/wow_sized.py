"""Makes a corpus of the official size and layout out of the shipped dialogues: 18,430 dialogues, about 950 MB.

python benchmarks/wow_sized.py FOLDER                    train.json of the official size, the shipped other splits
python benchmarks/wow_sized.py FOLDER --dialogues 4608   a smaller one

Turns are drawn from the shipped dialogues, utterances by role and with their words shuffled, so that no two are equal;
each turn carries seven passages as in the original (there, too, passages are nine tenths of the file). Number and
length of everything are as there, its sense is not.
"""

import argparse
import random
import shutil
from pathlib import Path
from typing import Any

import orjson

from wikillama.config.paths import ROOT
from wikillama.data.wow import OFFICIAL_COUNTS, SPLIT_FILES, TOPIC_SPLITS

MINI = ROOT / "data" / "wow_mini"
PASSAGES = 7  # retrieved for a turn, as in the original
SENTENCES = 6  # of a passage; makes the mean turn as many bytes as the original's


def write(folder: Path, dialogues: int, seed: int = 0) -> Path:
    """Write `dialogues` dialogues to train.json in `folder`, with the shipped files of the other splits beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*SPLIT_FILES.values(), TOPIC_SPLITS):
        shutil.copy(MINI / name, folder / name)
    shipped = orjson.loads((MINI / SPLIT_FILES["train"]).read_bytes())
    draw = random.Random(seed)
    turns = {role: [t for d in shipped for t in d["dialog"] if t["speaker"].endswith(role)] for role in _ROLES}
    passages = [passage for t in turns["Apprentice"] + turns["Wizard"] for passage in t["retrieved_passages"]]
    sentences = [s for passage in passages for texts in passage.values() for s in texts]
    mean_turns = OFFICIAL_COUNTS["train"][1] / OFFICIAL_COUNTS["train"][0]
    with (folder / SPLIT_FILES["train"]).open("wb") as file:
        for number in range(dialogues):
            file.write(b", " if number else b"[")
            length = int(mean_turns) + (draw.random() < mean_turns % 1)
            file.write(orjson.dumps(_dialogue(draw, shipped[number % len(shipped)], length, turns, sentences)))
        file.write(b"]")
    return folder / SPLIT_FILES["train"]


_ROLES = ("Wizard", "Apprentice")


def _dialogue(
    draw: random.Random, like: dict[str, Any], length: int, turns: dict[str, list[Any]], sentences: list[str]
) -> dict[str, Any]:
    first = draw.randrange(2)
    dialog = []
    for place in range(length):
        role = _ROLES[(place + first) % 2]
        titles = [f"{like['chosen_topic']} {draw.randrange(10**6)}" for _ in range(PASSAGES)]
        retrieved = [{title: draw.choices(sentences, k=SENTENCES)} for title in titles]
        turn = draw.choice(turns[role])
        words = turn["text"].split()
        text = " ".join(draw.sample(words, len(words)))
        seat = {"speaker": f"{place % 2}_{role}", "text": text}
        dialog.append({**turn, **seat, "retrieved_passages": retrieved, "retrieved_topics": titles})
    return {**like, "dialog": dialog}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dialogues", type=int, default=OFFICIAL_COUNTS["train"][0])
    arguments = parser.parse_args()
    path = write(arguments.folder, arguments.dialogues)
    print(f"{path}: {path.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
