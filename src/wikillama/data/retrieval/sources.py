"""Reads articles, in sentences, from text files, JSON lines, or a Wizard of Wikipedia corpus."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from wikillama.config.schema import DataConfig
from wikillama.data.corpus import Source, find, read_source
from wikillama.data.dialogue import BadRow, BadRowError, Dialogue, OnBadRow, Passage
from wikillama.data.hashing import file_sha256, remembered_sha256
from wikillama.data.retrieval.markdown import plain_text
from wikillama.data.retrieval.sentences import split_sentences
from wikillama.data.wow import SPLIT_FILES
from wikillama.errors import InputError

Watch = Callable[[int, int], None]  # bytes read so far, bytes in all
_TEXTS = (".txt", ".md")
_LINES = (".jsonl", ".jsonl.gz")
_ARCHIVES = (".tgz", ".tar.gz", ".tar")
_EXTRACT = "wiki_*"  # as WikiExtractor names its files of JSON lines
_WORTH_A_NOTE = 1 << 20  # bytes of a file from which on its hash is remembered


class Article(NamedTuple):
    """A title where one is known, where the article is from (a file, a file's line, or an address), its sentences."""

    title: str | None
    source: str
    sentences: tuple[str, ...]


def files_of(source: str) -> list[Path]:
    """The files that a source is read from, in order.

    A folder that holds files of the original Wizard of Wikipedia stands for these, any other one for the .txt, .md,
    .jsonl, .jsonl.gz and wiki_* files in it and below. Raises InputError where there are none.
    """
    place = Path(source).expanduser()
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InputError(f"retriever.source={source}: no such file or folder")
    corpus = [file for split in SPLIT_FILES.values() for file in (place / split, place / f"{split}.gz")]
    if found := [file for file in corpus if file.is_file()]:
        return found
    shown = (file for file in place.rglob("*") if not any(part[0] == "." for part in file.relative_to(place).parts))
    if found := sorted(file for file in shown if _is_text(file) and file.is_file()):
        return found
    raise InputError(f"retriever.source={source}: no .txt, .md, .jsonl, .jsonl.gz or wiki_* file there")


def _is_text(file: Path) -> bool:
    return file.name.endswith((*_TEXTS, *_LINES)) or file.match(_EXTRACT)


def _is_corpus(file: Path) -> bool:
    """Whether a file is in the original Wizard of Wikipedia layout."""
    return file.name.endswith((*_ARCHIVES, ".json", ".json.gz"))


def content_hash(source: str, cache: Path) -> str:
    """A hash of the names and the bytes of a source's files. Raises InputError for what cannot be read."""
    place, digest = Path(source).expanduser(), hashlib.sha256()
    for file in files_of(source):
        try:
            large = file.stat().st_size >= _WORTH_A_NOTE
            content = remembered_sha256(file, cache) if large else file_sha256(file)
        except OSError as error:
            content = f"{error.strerror}"  # reading says so again, and a skipped file may come back
        digest.update(f"{file.relative_to(place) if file != place else file.name}\0{content}\0".encode())
    return digest.hexdigest()


def read_articles(source: str, on_bad_row: OnBadRow, watch: Watch) -> Iterator[Article]:
    """Yield the articles of a source that have a sentence.

    A text file is an article; so is a line of JSON with `text` (a string, or a list of sentences) and, where it has
    them, `title` and `url`; of a corpus of dialogues its passages are, those under one title put together. What cannot
    be used goes to `on_bad_row`. Raises InputError where a source is not there.
    """
    files = files_of(source)
    if _is_corpus(files[0]):
        try:
            yield from _passages(source, on_bad_row, watch)
        except OSError as error:
            raise InputError(f"retriever.source={source}: cannot be read ({error.strerror or error})") from error
        return
    place, done = Path(source).expanduser(), 0
    sizes = [file.stat().st_size for file in files]
    for file, size in zip(files, sizes, strict=True):
        name = str(file.relative_to(place)) if file != place else file.name
        try:
            found = _text_file(file, name) if file.name.endswith(_TEXTS) else _lines(file, name, on_bad_row)
            for article, position in found:
                if article.sentences:
                    yield article
                watch(done + position, sum(sizes))
        except (OSError, EOFError, zlib.error, BadRowError) as error:
            reason = f"cannot be read ({error.strerror or error})" if isinstance(error, OSError) else str(error)
            on_bad_row(BadRow(str(file), reason, b""))
        done += size


def _text_file(file: Path, name: str) -> Iterator[tuple[Article, int]]:
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRowError(f"not UTF-8 (byte {raw[error.start]:#04x} at {error.start}); save it as UTF-8") from error
    title, text = plain_text(text) if file.suffix == ".md" else (None, text)
    sentences = tuple(dict.fromkeys(split_sentences(text)))
    yield Article(title or file.stem.replace("_", " "), name, sentences), len(raw)


def _lines(file: Path, name: str, on_bad_row: OnBadRow) -> Iterator[tuple[Article, int]]:
    with file.open("rb") as stream:
        lines: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=stream) if file.suffix == ".gz" else stream
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield _row(line, f"{name}: line {number}"), stream.tell()
                except BadRowError as error:
                    on_bad_row(BadRow(f"{file}: line {number}", str(error), line))


def _row(line: bytes, where: str) -> Article:
    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadRowError(f"broken JSON or not UTF-8 ({error.msg.split(':')[0]})") from error
    if not isinstance(row, dict) or "text" not in row:
        raise BadRowError(f"no field 'text' (it has {sorted(row)})" if isinstance(row, dict) else "not a JSON object")
    text, title, address = row["text"], row.get("title"), row.get("url")
    split = isinstance(text, list) and all(isinstance(sentence, str) for sentence in text)
    if not (split or isinstance(text, str)) or not isinstance(title, str | None):
        raise BadRowError("'text' is neither a string nor a list of strings, or 'title' is not a string")
    sentences = (" ".join(sentence.split()) for sentence in text) if split else split_sentences(text)
    return Article(
        title.strip() or None if title else None,
        address if isinstance(address, str) and address else where,
        tuple(dict.fromkeys(sentence for sentence in sentences if sentence)),
    )


def _passages(source: str, on_bad_row: OnBadRow, watch: Watch) -> Iterator[Article]:
    data = DataConfig(name="retriever", format="wow", path=source, holdout=0.1)
    sentences: dict[str, dict[str, None]] = {}
    files: dict[str, str] = {}
    for split in _splits(data):
        for dialogue in read_source(data, split, on_bad_row, watch):
            for passage in _brought(dialogue):
                files.setdefault(passage.title, f"{split.name.removesuffix('.json')}.json")
                known = sentences.setdefault(passage.title, {})
                known.update(dict.fromkeys(filter(None, map(str.strip, passage.sentences))))
    for title, found in sentences.items():
        yield Article(title or None, files[title], tuple(found))


def _splits(data: DataConfig) -> Iterator[Source]:
    for split in SPLIT_FILES:
        try:
            found = find(data, split)  # type: ignore[arg-type]  # the keys are the splits' names
        except InputError:  # it may lack a split
            continue
        if found is not None:
            yield found


def _brought(dialogue: Dialogue) -> Iterable[Passage]:
    if dialogue.topic_passage is not None:
        yield dialogue.topic_passage
    for turn in dialogue.turns:
        yield from turn.passages
