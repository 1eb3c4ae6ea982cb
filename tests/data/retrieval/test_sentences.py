"""Where sentences end, and where a full stop does not end one."""

import pytest

from wikillama.data.retrieval.sentences import split_sentences


@pytest.mark.parametrize(
    "whole",
    [
        "Dr. Smith met Mrs. Jones at St. Paul's.",
        "J. K. Rowling wrote it, and J.R.R. Tolkien did not.",
        "He moved to Washington D.C. Virginia was near.",  # a capital alone does not tell
        "Acme Inc. Chairman Jim Lee left.",
        "See Fig. 3 and No. 5 of vol. 2.",
        "It fell on Jan. 5 at 3.50 dollars.",
        "Some animals, e.g. Dogs or i.e. cats, bark.",
        "The firm Yahoo! is old.",
        'He asked "why?" and went.',
        "About 3.1 million people live there.",
    ],
)
def test_one_sentence_stays_whole(whole: str) -> None:
    assert split_sentences(whole) == [whole]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Tea is hot. Coffee, too! Is it? Yes... Well.", ["Tea is hot.", "Coffee, too!", "Is it?", "Yes...", "Well."]),
        ('"Really?" She left. (It rained.) So be it.', ['"Really?"', "She left.", "(It rained.)", "So be it."]),
        ("He lived in the U.S. The war began.", ["He lived in the U.S.", "The war began."]),
        ("It was sold by Acme Inc. In 1990 it fell.", ["It was sold by Acme Inc.", "In 1990 it fell."]),
        ("They ate apples, pears, etc. Then they left.", ["They ate apples, pears, etc.", "Then they left."]),
        ("It began in 1990. 2000 was its end.", ["It began in 1990.", "2000 was its end."]),
        ("We said no. Nobody came.", ["We said no.", "Nobody came."]),
        ("Sie kam. Élan fehlte.", ["Sie kam.", "Élan fehlte."]),
        ("茶は飲み物。熱い。", ["茶は飲み物。", "熱い。"]),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_sentences_end_where_they_end(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_blank_lines_part_wrapped_text_and_line_breaks_do_not() -> None:
    text = "A heading\n\nTea  is made\nfrom leaves. It is\nhot\n\n\nLast"
    assert split_sentences(text) == ["A heading", "Tea is made from leaves.", "It is hot", "Last"]


def test_lines_are_paragraphs_where_they_are_long() -> None:
    row = "Tea is a drink that many like in the afternoon, with milk or with lemon, and with a very large piece of cake"
    assert len(f"{row}, too.") <= 120 < len(f"{row} or two, too.")
    assert split_sentences(f"Heading\n{row} or two, too.\nOne more") == ["Heading", f"{row} or two, too.", "One more"]
    assert split_sentences(f"Heading\n{row}, too.\nOne more") == [f"Heading {row}, too.", "One more"]


def test_what_never_ends_is_cut() -> None:
    words = [f"w{n}" for n in range(250)]
    pieces = split_sentences(" ".join(words))
    assert [len(piece.split()) for piece in pieces] == [120, 120, 10]
    assert " ".join(pieces).split() == words


def test_a_long_paragraph_takes_no_longer_than_its_parts() -> None:
    text = "Tea is made from leaves. " * 20_000  # half a megabyte: looking at all that follows each stop took minutes
    assert split_sentences(text) == ["Tea is made from leaves."] * 20_000
