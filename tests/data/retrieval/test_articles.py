"""Articles on disk: what is read is what was written, however many batches it took."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from wikillama.data.retrieval.articles import Articles, write_articles
from wikillama.data.retrieval.sources import Article
from wikillama.data.retrieval.words import Vocabulary


def numbered(count: int) -> Iterator[Article]:
    for number in range(count):
        sentences = tuple(f"Sentence {n} of tea{number}." for n in range(1 + number % 7))
        yield Article(f"Title {number}" if number % 3 else None, f"file: line {number}", sentences)


def test_any_article_is_read_as_it_was_written(tmp_path: Path) -> None:
    count = 5_000  # three batches
    assert write_articles(tmp_path, numbered(count), Vocabulary()) == (count, sum(1 + n % 7 for n in range(count)))
    articles = Articles(tmp_path)
    assert len(articles.batches) == 3
    assert len(articles) == count
    for number, article in enumerate(numbered(count)):
        if number % 97 and count - number > 2:
            continue
        assert articles.title(number) == article.title
        assert articles.source(number) == article.source
        assert articles.sentences(number) == list(article.sentences)
        assert articles.first[number + 1] - articles.first[number] == len(article.sentences)


def test_words_of_a_sentence_are_those_of_its_title_and_its_own(tmp_path: Path) -> None:
    vocabulary = Vocabulary()
    two = [
        Article("Green tea", "a", ("Tea is hot.", "The of.", "It is green, so green.")),
        Article(None, "b", ("Mugs break.",)),
    ]
    write_articles(tmp_path, two, vocabulary)
    green, tea, hot, mug, broken = (vocabulary.numbers[word] for word in ("green", "tea", "hot", "mug", "break"))
    titled, untitled = Articles(tmp_path).words(0), Articles(tmp_path).words(1)
    assert titled.lengths.tolist() == [4, 2, 4]
    assert titled.numbers.tolist() == [green, tea, tea, hot, green, tea, green, tea, green, green]
    assert untitled.numbers.tolist() == [mug, broken]


def test_a_broken_file_is_no_index(tmp_path: Path) -> None:
    write_articles(tmp_path, numbered(100), Vocabulary())
    file = tmp_path / "articles.arrow"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises((OSError, pa.ArrowInvalid)):
        Articles(tmp_path)
