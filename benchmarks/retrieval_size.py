"""Measures an index of a million sentences: how long it takes to make, its size, how fast it answers, and memory.

python benchmarks/retrieval_size.py                       1,000,000 sentences, bm25
python benchmarks/retrieval_size.py --sentences 100000    fewer; another record
python benchmarks/retrieval_size.py --record FILE.json    where the record goes
python benchmarks/retrieval_size.py --fts5                the same articles in SQLite's FTS5, for comparison

The articles are made up: words by Zipf's law (Mandelbrot's form, exponent 1.07), the most frequent ones English stop
words and the others syllables put together; sentences of about 22 words, 5 to 45 of them in an article, one word in
eight out of the article's own. A query is an article's title and two turns of 14 words drawn from its text. Making and
answering are each measured in a process of its own, answering in one that opens the index first; memory is the
operating system's account of the whole process. Runs on a machine with other work say less: `load` tells.
"""

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from bm25s.stopwords import STOPWORDS_EN_PLUS

from wikillama.config.paths import ROOT
from wikillama.config.schema import RetrieverConfig
from wikillama.data.retrieval.build import open_index
from wikillama.data.retrieval.sources import Article, read_articles
from wikillama.data.retrieval.words import content_words

Asked = tuple[str, list[str]]

VOCABULARY = 400_000
QUERIES = 300
LIMITS = {"build_s": 120.0, "p95_ms": 30.0, "peak_rss_mb": 1500.0}  # for a million sentences on two cores
CONSONANTS = [*"bcdfghklmnprstvw", "st", "tr", "ch", "sh", "pl"]
VOWELS = [*"aeiou", "ai", "ou", "er", "an", "in", "on"]


def vocabulary(draw: random.Random) -> "np.ndarray[Any, np.dtype[np.str_]]":
    """Words, the most frequent first; rarer ones are longer."""
    syllables = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
    stop = [word for word in STOPWORDS_EN_PLUS if "'" not in word and len(word) > 1]
    made = ("".join(draw.choices(syllables, k=2 + (n > 2_000) + (n > 50_000))) for n in range(2 * VOCABULARY))
    return np.array([*stop, *list(dict.fromkeys(made))[:VOCABULARY]])


def write(path: Path, sentences: int, seed: int = 0) -> int:
    """Write articles with at least so many sentences in all, as JSON lines; how many articles they are."""
    draw, chance = random.Random(seed), np.random.default_rng(seed)
    words = vocabulary(draw)
    shares = 1 / (np.arange(len(words)) + 2.7) ** 1.07
    bounds = np.cumsum(shares / shares.sum())
    bounds[-1] = 1.0
    written = articles = 0
    with path.open("w", encoding="utf-8") as file:
        while written < sentences:
            count = min(int(chance.integers(5, 46)), sentences - written)
            lengths = np.clip(chance.normal(22, 8, count), 4, 60).astype(int)
            numbers = np.searchsorted(bounds, chance.random(lengths.sum()))
            own = np.searchsorted(bounds, chance.uniform(bounds[300], 1, 60))
            numbers = np.where(chance.random(len(numbers)) < 1 / 8, chance.choice(own, len(numbers)), numbers)
            pieces = np.split(words[numbers], np.cumsum(lengths)[:-1])
            text = " ".join(f"{' '.join(piece).capitalize()}." for piece in pieces)
            title = " ".join(words[own[: int(chance.integers(1, 4))]]).title()
            file.write(json.dumps({"id": articles, "title": title, "text": text}) + "\n")
            written, articles = written + count, articles + 1
    return articles


def articles_of(path: Path) -> Iterator[Article]:
    return read_articles(str(path), lambda row: None, lambda done, size: None)


def queries(path: Path) -> list[Asked]:
    """Titles with two turns, of articles from all over the file."""
    draw = random.Random(1)
    with path.open(encoding="utf-8") as file:
        wanted = set(draw.sample(range(sum(1 for _ in file)), QUERIES))
        file.seek(0)
        rows = [json.loads(line) for number, line in enumerate(file) if number in wanted]
    return [(row["title"], [" ".join(draw.choices(row["text"].split(), k=14)) for _ in range(2)]) for row in rows]


def peak_mb() -> float:
    """Of this process as Linux counts it; getrusage would count the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(kilobytes) * 1024 / 1e6, 1)


def make(path: Path, cache: Path) -> dict[str, Any]:
    started, busy = time.perf_counter(), time.process_time()
    facts = open_index(RetrieverConfig(source=str(path)), str(cache)).facts
    return {
        "build_s": round(time.perf_counter() - started, 2),
        "build_cpu_s": round(time.process_time() - busy, 2),
        "peak_rss_mb": peak_mb(),
        "index_mb": round(facts.megabytes, 1),
        "articles": facts.articles,
        "sentences": facts.sentences,
        "distinct_words": facts.words,
    }


def answer(path: Path, cache: Path) -> dict[str, Any]:
    started = time.perf_counter()
    index = open_index(RetrieverConfig(source=str(path)), str(cache))
    opened = time.perf_counter() - started
    asked = queries(path)

    def search(title: str, turns: list[str]) -> bool:
        found = index.search(title, turns, 5)
        return any(one.article == title for one in found)

    return {"open_s": round(opened, 2), **timed(asked, search)}


def timed(asked: list[Asked], search: Callable[[str, list[str]], bool]) -> dict[str, Any]:
    """Wall and CPU time of searches, the first included, and how often the article asked about is found."""
    wall, busy, right = [], [], 0
    for title, turns in asked:
        started, used = time.perf_counter(), time.process_time()
        right += search(title, turns)
        wall.append(1e3 * (time.perf_counter() - started))
        busy.append(1e3 * (time.process_time() - used))
    p50, p95 = np.percentile(wall, [50, 95])
    cpu50, cpu95 = np.percentile(busy, [50, 95])
    return {
        "queries": len(asked),
        "p50_ms": round(float(p50), 2),
        "p95_ms": round(float(p95), 2),
        "max_ms": round(max(wall), 2),
        "cpu_p50_ms": round(float(cpu50), 2),
        "cpu_p95_ms": round(float(cpu95), 2),
        "article_found": round(right / len(asked), 3),
        "peak_rss_mb": peak_mb(),
    }


def make_fts5(path: Path, cache: Path) -> dict[str, Any]:
    """Articles in SQLite's FTS5 with its Porter stemmer, their sentences in a table beside."""
    started, busy = time.perf_counter(), time.process_time()
    base = sqlite3.connect(cache / "fts5.db")
    base.executescript(
        "pragma journal_mode = off; pragma synchronous = off;"
        "create table articles (number integer primary key, title text, sentences text);"
        "create virtual table words using fts5 "
        "(text, content = '', tokenize = 'porter unicode61 remove_diacritics 2');"
    )
    for number, article in enumerate(articles_of(path)):
        base.execute("insert into articles values (?, ?, ?)", (number, article.title, json.dumps(article.sentences)))
        text = " ".join(f"{article.title} {sentence}" for sentence in article.sentences)
        base.execute("insert into words (rowid, text) values (?, ?)", (number, text))
    base.commit()
    return {
        "build_s": round(time.perf_counter() - started, 2),
        "build_cpu_s": round(time.process_time() - busy, 2),
        "peak_rss_mb": peak_mb(),
        "index_mb": round((cache / "fts5.db").stat().st_size / 1e6, 1),
    }


def answer_fts5(path: Path, cache: Path) -> dict[str, Any]:
    base = sqlite3.connect(cache / "fts5.db")
    base.execute("pragma mmap_size = 4000000000")
    best = (
        "select title, sentences from (select rowid from words where words match ? order by rank limit 10) as best "
        "join articles on number = best.rowid"
    )

    def search(title: str, turns: list[str]) -> bool:  # the articles alone; ranking their sentences would come on top
        words = dict.fromkeys(content_words(" ".join([title, *turns])))
        found = base.execute(best, (" OR ".join(f'"{word}"' for word in words),)).fetchall()
        return any(row[0] == title for row in found)

    return timed(queries(path), search)


STEPS = {"make": make, "answer": answer, "make_fts5": make_fts5, "answer_fts5": answer_fts5}


def alone(step: str, path: Path, cache: Path) -> dict[str, Any]:
    """A step in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--articles", str(path), "--cache", str(cache)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=1_000_000)
    parser.add_argument("--fts5", action="store_true")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "records" / "retrieval_size.json")
    for hidden in ("--step", "--articles", "--cache"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(STEPS[arguments.step](Path(arguments.articles), Path(arguments.cache))))
        return
    from wikillama.tracking.facts import code_tags, environment_tags  # here, for steps to be measured without them

    with tempfile.TemporaryDirectory() as folder:
        path, cache = Path(folder) / "articles.jsonl", Path(folder) / "cache"
        cache.mkdir()
        articles = write(path, arguments.sentences)
        load = os.getloadavg()[0]
        record = {
            "what": "an index of generated sentences: making it, and answering from it, each in a process of its own",
            "command": f"python benchmarks/retrieval_size.py {' '.join(sys.argv[1:])}".strip(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "load_before": round(load, 2),
            "corpus": {"sentences": arguments.sentences, "articles": articles, "mb": round(path.stat().st_size / 1e6)},
            "limits_at_a_million": LIMITS,
            "make": alone("make", path, cache),
            "answer": alone("answer", path, cache),
        }
        if arguments.fts5:
            record["fts5"] = {"make": alone("make_fts5", path, cache), "answer": alone("answer_fts5", path, cache)}
    record |= {"load_after": round(os.getloadavg()[0], 2), **code_tags(), **environment_tags()}
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
