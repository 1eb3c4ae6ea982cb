"""Makes an index once and finds it again: a folder of the cache, named by its source's content and how it is read.

The folder is filled beside its place and moved there when it is whole, by one process at a time; one that was killed
leaves nothing that could be taken for an index. It holds

    articles.arrow                    titles, sources, sentences, and the numbers of their words
    *.index.json, *.index.npy, idf    BM25, as bm25s keeps it
    *_vectors.npy                     dense and hybrid: vectors of sentences and articles
    quarantine.jsonl                  what of the source could not be used, and why
    facts.json                        counts, and the size of each file
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

import orjson
import pyarrow as pa
from filelock import FileLock, Timeout

from wikillama.config.schema import RetrieverConfig
from wikillama.data.dialogue import BadRow, OnBadRow
from wikillama.data.retrieval.articles import Articles, write_articles
from wikillama.data.retrieval.dense import write_dense
from wikillama.data.retrieval.encoder import SentenceEncoder, sentence_encoder
from wikillama.data.retrieval.index import Index, IndexFacts
from wikillama.data.retrieval.lexical import write_lexical
from wikillama.data.retrieval.sources import content_hash, read_articles
from wikillama.data.retrieval.words import Vocabulary
from wikillama.errors import InputError

log = logging.getLogger(__name__)

STAGES = {"reading": "bytes", "indexing": "articles", "encoding": "sentences"}
Progress = Callable[[str, int, int], None]  # stage, how much of it is done, of how much

_LAYOUT = "2"  # part of the key: raise it when the same source would be indexed, or asked, otherwise
_PAUSE = 0.1  # seconds between two words on progress


def open_index(config: RetrieverConfig, cache_dir: str, progress: Progress | None = None) -> Index:
    """The index of `config.source`, made where it is not there yet, and again where it is broken.

    Raises InputError for a source that is not there, that cannot be read, or that has no sentence, for an encoder that
    is not there, and where the cache cannot be written.
    """
    root = Path(cache_dir).expanduser()
    encoder = _encoder(config)
    folder = root / "indexes" / f"{Path(config.source or '').name or 'index'}-{fingerprint_of(config, root)}"
    try:
        if (found := _found(folder, config, encoder)) is not None:
            return found
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if (found := _found(folder, config, encoder)) is None:  # else another process was faster
                if folder.exists():
                    log.warning("%s: the index is broken, and is made again", folder)
                _make(folder, config, encoder, progress)
                found = _opened(folder, config, encoder)
    except OSError as error:
        raise InputError(
            f"cache_dir={cache_dir}: cannot be written ({error.strerror or error}); free space there, or give another"
        ) from error
    return found


def _encoder(config: RetrieverConfig) -> SentenceEncoder | None:
    return None if config.kind == "bm25" else sentence_encoder(config.encoder, f"retriever={config.kind}")


def fingerprint_of(config: RetrieverConfig, root: Path) -> str:
    """What decides on an index's contents: the bytes of its source and how they are read.

    Raises InputError as `open_index` does.
    """
    if config.source is None:
        raise InputError("retriever.source: give a folder or file of articles")
    encoder = _encoder(config)
    parts = {
        "layout": _LAYOUT,
        "versions": [version("bm25s"), version("PyStemmer")],
        "source": content_hash(config.source, root),
        "on_bad_row": config.on_bad_row,
        "encoder": None if encoder is None else encoder.fingerprint(root),
    }
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _found(folder: Path, config: RetrieverConfig, encoder: SentenceEncoder | None) -> Index | None:
    """The index in a folder, None where there is none or it is broken."""
    try:
        return _opened(folder, config, encoder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None


def _opened(folder: Path, config: RetrieverConfig, encoder: SentenceEncoder | None) -> Index:
    facts = IndexFacts(**orjson.loads((folder / "facts.json").read_bytes()))
    for name, size in facts.files.items():
        if (folder / name).stat().st_size != size:
            raise ValueError(f"{name} is not as it was written")
    return Index(folder, facts, config, encoder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder. Says so where another process has it, which may take its time."""
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("%s: another process makes this index; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(folder: Path, config: RetrieverConfig, encoder: SentenceEncoder | None, progress: Progress | None) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed: this one holds the lock
    part.mkdir()
    try:
        _fill(part, config, encoder, _seldom(progress))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(folder: Path, config: RetrieverConfig, encoder: SentenceEncoder | None, progress: Progress) -> None:
    started = time.perf_counter()
    facts, vocabulary = IndexFacts(), Vocabulary()
    assert config.source is not None
    with (folder / "quarantine.jsonl").open("wb") as quarantine:

        def put_aside(row: BadRow) -> None:
            quarantine.write(orjson.dumps({"where": row.where, "reason": row.reason}) + b"\n")
            facts.bad_rows += 1
            facts.bad_row = facts.bad_row or f"{row.where}: {row.reason}"

        on_bad_row: OnBadRow = put_aside if config.on_bad_row == "skip" else _refuse
        read = read_articles(config.source, on_bad_row, partial(progress, "reading"))
        facts.articles, facts.sentences = write_articles(folder, read, vocabulary)
    facts.words = len(vocabulary.numbers)
    if not facts.words:
        skipped = f" ({facts.bad_rows} bad rows left out, such as {facts.bad_row})" if facts.bad_rows else ""
        raise InputError(f"retriever.source={config.source}: no sentence in it{skipped}")
    articles = Articles(folder)
    write_lexical(folder, articles, vocabulary.numbers, partial(progress, "indexing"))
    if encoder is not None:
        write_dense(folder, articles, encoder, partial(progress, "encoding"))
    for file in folder.iterdir():
        _sync(file)
    facts.files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    facts.seconds = round(time.perf_counter() - started, 3)
    (folder / "facts.json").write_bytes(orjson.dumps(asdict(facts)))


def _refuse(row: BadRow) -> None:
    raise InputError(f"{row.where}: {row.reason} (retriever.on_bad_row=skip goes on without it)")


def _seldom(progress: Progress | None) -> Progress:
    """The same, called a few times a second: readers report on every article."""
    last: dict[str, float] = {}

    def say(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if progress is not None and now - last.get(stage, -_PAUSE) >= _PAUSE:
            last[stage] = now
            progress(stage, done, total)

    return say


def _sync(file: Path) -> None:
    with file.open("rb+") as written:
        os.fsync(written.fileno())
