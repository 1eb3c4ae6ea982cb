"""Words as the index counts them."""

from wikillama.data.retrieval.words import Vocabulary, content_words


def test_forms_of_a_word_have_one_number() -> None:
    vocabulary = Vocabulary()
    garden, cafe = vocabulary("garden"), vocabulary("Cafés")
    assert garden == [0]
    assert cafe == [1]
    assert vocabulary("GARDENS Gardening gardened!") == garden * 3
    assert vocabulary("café CAFE, cafe\u0301") == cafe * 3  # the last with an accent of its own
    assert list(vocabulary.numbers) == ["garden", "cafe"]


def test_stop_words_and_marks_do_not_count() -> None:
    vocabulary = Vocabulary()
    assert vocabulary("It's the one that I don't, and what you'll have...") == vocabulary("one") == [0]
    assert content_words("The tea, and THE cups!") == ["tea", "cups"]


def test_numbers_and_other_letters_are_words() -> None:
    vocabulary = Vocabulary()
    assert vocabulary("1964 茶 naïve") == [0, 1, 2]
    assert list(vocabulary.numbers)[:2] == ["1964", "茶"]


def test_order_and_repetition_are_kept() -> None:
    assert Vocabulary()("red tea red cup") == [0, 1, 0, 2]


def test_known_numbers_stay_as_they_are() -> None:
    grown = Vocabulary()
    grown("tea cups")
    fixed = Vocabulary(dict(grown.numbers))
    assert fixed("A cup of tea in the garden; cupping") == [1, 0, 1]
    assert fixed.numbers == {"tea": 0, "cup": 1}
    assert fixed("garden") == []
