"""Builds the six files of the mini corpus, in the original Wizard of Wikipedia layout, from `source/*.yaml`.

    python data/wow_mini/build.py           # writes train.json ... topic_splits.json beside this file
    python data/wow_mini/build.py --check   # only says what is wrong with the sources

A source file holds one category: its articles, and its dialogues with the article sentence behind each Wizard turn:

    category: cars
    articles:
      Ford Mustang:
        - "The Ford Mustang is ..."
    dialogues:
      - topic: Ford Mustang            # the chosen topic, an article of this file
        split: train                   # train | valid_seen | valid_unseen | test_seen | test_unseen
        persona: "i like fast cars."
        turns:
          - A: "Do you know the Mustang?"               # Apprentice
          - W: "Yes, Ford has built it since 1964!"     # Wizard
            know: [Ford Mustang, 0]                     # article and sentence, or null for small talk

What the original collection took from its retriever (`retrieved_passages`) comes from a plain tf-idf ranking of the
articles against the turn's text; an article that the Wizard goes on to use is always among what the turn before
retrieved, as it was on the Wizard's screen in the original collection. Layout after Dinan et al., "Wizard of
Wikipedia", ICLR 2019 (https://arxiv.org/abs/1811.01241).
"""

import json
import math
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
FILES = {
    "train": "train.json",
    "valid_seen": "valid_random_split.json",
    "valid_unseen": "valid_topic_split.json",
    "test_seen": "test_random_split.json",
    "test_unseen": "test_topic_split.json",
}
RETRIEVED = 3  # passages a turn; the original has 7, which would be 10 MB here
NO_KNOWLEDGE = "no_passages_used"

Articles = dict[str, list[str]]
Json = dict[str, Any]


def check(category: Json, name: str) -> list[str]:
    """Everything wrong with one source file, one line each."""
    wrong = []
    articles = category["articles"]
    for title, sentences in articles.items():
        if not 3 <= len(sentences) <= 10:
            wrong.append(f"{name}: article '{title}' has {len(sentences)} sentences, not 3 to 10")
        wrong += [f"{name}: article '{title}': not text: {s!r}" for s in sentences if not isinstance(s, str)]
    for number, dialogue in enumerate(category["dialogues"], start=1):
        where = f"{name}: dialogue {number}"
        if dialogue["topic"] not in articles:
            wrong.append(f"{where}: no article '{dialogue['topic']}'")
        if dialogue["split"] not in FILES:
            wrong.append(f"{where}: unknown split '{dialogue['split']}'")
        speakers = [next(key for key in turn if key in "AW") for turn in dialogue["turns"]]
        if any(a == b for a, b in pairwise(speakers)):
            wrong.append(f"{where}: speakers do not alternate: {''.join(speakers)}")
        for turn in dialogue["turns"]:
            text = turn.get("W", turn.get("A"))
            if not isinstance(text, str) or not text.strip():
                wrong.append(f"{where}: not text: {text!r}")
            if "W" in turn and "know" not in turn:
                wrong.append(f"{where}: no `know` beside {text!r}")
            elif turn.get("know"):
                title, index = turn["know"]
                if index not in range(len(articles.get(title, []))):
                    wrong.append(f"{where}: no sentence {index} in article '{title}'")
    return wrong


def check_splits(categories: list[Json]) -> list[str]:
    """Seen topics must stand in train, unseen ones must not, and no unseen topic may serve both valid and test."""
    topics: dict[str, set[str]] = {split: set() for split in FILES}
    for category in categories:
        for dialogue in category["dialogues"]:
            topics[dialogue["split"]].add(dialogue["topic"])
    seen = topics["train"]
    wrong = [f"{s}: topic '{t}' is not in train" for s in ("valid_seen", "test_seen") for t in sorted(topics[s] - seen)]
    wrong += [
        f"{s}: topic '{t}' is in train" for s in ("valid_unseen", "test_unseen") for t in sorted(topics[s] & seen)
    ]
    both = topics["valid_unseen"] & topics["test_unseen"]
    return wrong + [f"topic '{t}' is unseen in both valid and test" for t in sorted(both)]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


class Retriever:
    """Ranks articles against a text: sum over shared words of idf, title words counted twice."""

    def __init__(self, articles: Articles) -> None:
        self.bags = {title: Counter(words(" ".join([title, title, *text]))) for title, text in articles.items()}
        df = Counter(word for bag in self.bags.values() for word in bag)
        self.idf = {word: math.log(len(self.bags) / n) for word, n in df.items()}

    def rank(self, text: str) -> list[str]:
        query = set(words(text))
        scores = {t: math.fsum(self.idf[w] * min(bag[w], 2) for w in query if w in bag) for t, bag in self.bags.items()}
        return sorted(scores, key=lambda title: (-scores[title], title))


def original_layout(dialogue: Json, articles: Articles, retriever: Retriever) -> Json:
    """One dialogue of a source file as one of train.json."""
    topic, turns = dialogue["topic"], dialogue["turns"]
    wizard_opens = "W" in turns[0]
    seats = {"W": "0_Wizard", "A": "1_Apprentice"} if wizard_opens else {"A": "0_Apprentice", "W": "1_Wizard"}
    out = []
    for number, turn in enumerate(turns):
        speaker = "W" if "W" in turn else "A"
        used_next = turns[number + 1].get("know") if number + 1 < len(turns) else None
        must = [used_next[0]] if used_next and used_next[0] != topic else []
        titles = (must + [t for t in retriever.rank(turn[speaker]) if t not in must])[:RETRIEVED]
        record: Json = {"speaker": seats[speaker], "text": turn[speaker]}
        if speaker == "W":
            record |= checked(turn["know"], topic, articles)
        record["retrieved_passages"] = [{title: articles[title]} for title in titles]
        record["retrieved_topics"] = titles
        out.append(record)
    return {
        "chosen_topic": topic,
        "persona": dialogue["persona"],
        "wizard_eval": -1,  # nobody rated these
        "dialog": out,
        "chosen_topic_passage": articles[topic],
    }


def checked(know: list[Any] | None, topic: str, articles: Articles) -> Json:
    """`checked_sentence` and `checked_passage` of a Wizard turn."""
    if not know:
        return {"checked_sentence": {NO_KNOWLEDGE: NO_KNOWLEDGE}, "checked_passage": {NO_KNOWLEDGE: NO_KNOWLEDGE}}
    title, index = know
    key = re.sub(r"\W+", "_", title)
    source, passage = ("chosen", f"chosen_topic_0_{key}") if title == topic else ("partner", f"partner_0_{key}")
    return {
        "checked_sentence": {f"{source}_{key}_{index}": articles[title][index]},
        "checked_passage": {passage: title},
    }


def main() -> int:
    paths = [Path(a) for a in sys.argv[1:] if a != "--check"] or sorted((HERE / "source").glob("*.yaml"))
    categories = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    wrong = [line for path, category in zip(paths, categories, strict=True) for line in check(category, path.name)]
    wrong = wrong or check_splits(categories)
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    if wrong or "--check" in sys.argv:
        return 2 if wrong else 0

    articles: Articles = {title: text for category in categories for title, text in category["articles"].items()}
    retriever = Retriever(articles)
    splits: dict[str, list[Json]] = {split: [] for split in FILES}
    for category in categories:
        for dialogue in category["dialogues"]:
            splits[dialogue["split"]].append(original_layout(dialogue, articles, retriever))
    for split, file in FILES.items():
        lines = ",\n".join(json.dumps(dialogue, ensure_ascii=False) for dialogue in splits[split])
        (HERE / file).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    topics = {split: sorted({d["chosen_topic"] for d in splits[split]}) for split in splits}
    lists = {"train": topics["train"], "valid": topics["valid_unseen"], "test": topics["test_unseen"]}
    (HERE / "topic_splits.json").write_text(json.dumps(lists, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    turns = sum(len(d["dialog"]) for dialogues in splits.values() for d in dialogues)
    print(f"{sum(map(len, splits.values()))} dialogues, {turns} turns, {len(articles)} articles")
    return 0


if __name__ == "__main__":
    sys.exit(main())
