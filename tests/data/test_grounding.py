"""Which knowledge a turn sees: gold, retrieved, mixed or none, always out of what was on hand before it."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from wikillama.config.schema import KnowledgeConfig
from wikillama.data.dialogue import Dialogue, Example, Passage, Sentence, Turn
from wikillama.data.grounding import candidates, ground

TEA = Passage("Tea", ("Tea is a drink.", "Tea grows on bushes.", "Tea came from China."))
MUG = Passage("Mug", ("A mug is a cup.", "Mugs break."))
POT = Passage("Teapot", ("A pot holds tea.", "Pots pour."))
DIALOGUE = Dialogue(
    id="tea:0",
    topic="Tea",
    persona="i like tea.",
    topic_passage=TEA,
    turns=(
        Turn("wizard", "Shall we talk?", target=True, passages=(Passage("Talk", ("Talk is cheap.",)),)),
        Turn("apprentice", "Yes, on cups.", passages=(MUG,)),
        Turn("wizard", "It is a drink.", knowledge="Tea is a drink.", target=True, passages=(POT, MUG)),
        Turn("apprentice", "I know.", passages=(Passage("Mug", ("Another mug.",)), Passage("China", ("It is big.",)))),
        Turn("wizard", "Not scored.", knowledge="Mugs break.", target=False),
        Turn("apprentice", "Sorry?"),
        Turn("wizard", "They pour.", knowledge="Pots pour.", target=True),
    ),
)


def examples(mode: Any, dialogue: Dialogue = DIALOGUE, seed: int = 0, **given: Any) -> list[Example]:
    return list(ground([dialogue], KnowledgeConfig(mode=mode, **given), seed))


def titles(dialogue: Dialogue, place: int) -> list[str]:
    return list(dict.fromkeys(sentence.title or "" for sentence in candidates(dialogue, place)))


@pytest.mark.parametrize("mode", ["gold", "retrieved", "none", "shuffled", "mixed"])
def test_each_target_is_an_example(mode: str) -> None:
    opening, second, last = (replace(example, knowledge=()) for example in examples(mode))
    assert opening == Example(
        id="tea:0:0", dialogue_id="tea:0", history=(), response="Shall we talk?", topic="Tea", persona="i like tea."
    )
    assert second.history == (("wizard", "Shall we talk?"), ("apprentice", "Yes, on cups."))
    assert (second.id, second.response) == ("tea:0:2", "It is a drink.")
    assert second.gold_knowledge == "Tea is a drink."  # for knowledge-F1, whatever the prompt shows
    assert [text for _, text in last.history] == [turn.text for turn in DIALOGUE.turns[:6]]
    assert (last.id, last.gold_knowledge) == ("tea:0:6", "Pots pour.")


def test_on_hand_is_what_topic_and_the_two_turns_before_brought_up() -> None:
    assert [titles(DIALOGUE, place) for place in range(7)] == [
        ["Tea"],
        ["Tea", "Talk"],
        ["Tea", "Mug", "Talk"],
        ["Tea", "Teapot", "Mug"],
        ["Tea", "Mug", "China", "Teapot"],
        ["Tea", "Mug", "China"],
        ["Tea"],
    ]
    assert candidates(DIALOGUE, 2)[:4] == [
        *(Sentence("Tea", text) for text in TEA.sentences),
        ("Mug", "A mug is a cup."),
    ]
    again = [sentence for sentence in candidates(DIALOGUE, 4) if sentence.title == "Mug"]
    assert again == [Sentence("Mug", "Another mug.")]  # of two passages under one title, the later turn's counts
    no_topic = replace(DIALOGUE, topic_passage=None)
    assert titles(no_topic, 2) == ["Mug", "Talk"]
    assert candidates(no_topic, 0) == []


def test_gold_is_the_chosen_sentence_with_its_title_where_that_was_on_hand() -> None:
    shown = [example.knowledge for example in examples("gold")]
    assert shown == [(), (Sentence("Tea", "Tea is a drink."),), (Sentence(None, "Pots pour."),)]


def test_white_space_around_a_sentence_does_not_hide_its_title() -> None:
    spaced = replace(DIALOGUE, topic_passage=Passage("Tea", ("Tea is hot.", " Tea is a drink. ")))
    assert [sentence.title for sentence in examples("gold", spaced)[1].knowledge] == ["Tea"]
    mixed = examples("mixed", spaced, distractors=9)[1].knowledge
    assert [sentence.text.strip() for sentence in mixed].count("Tea is a drink.") == 1


def test_none_shows_nothing() -> None:
    assert [example.knowledge for example in examples("none")] == [(), (), ()]


def asked(dialogue: Dialogue, k: int = 100) -> list[str]:
    """What a last Wizard turn behind `dialogue` sees in the mode `retrieved`."""
    dialogue = replace(dialogue, turns=(*dialogue.turns, Turn("wizard", "This.", "gold", target=True)))
    return [sentence.text for sentence in examples("retrieved", dialogue, k=k)[-1].knowledge]


SHORT = Dialogue(
    id="short:0",
    topic="Tea",
    topic_passage=TEA,
    turns=(
        Turn("apprentice", "Where do bushes grow?"),
        Turn("wizard", "In China.", knowledge="Tea came from China."),
        Turn("apprentice", "Do mugs break?", passages=(MUG,)),
    ),
)


def test_retrieved_are_ranked_against_topic_and_the_last_two_turns() -> None:
    """Query: Tea, In China., Do mugs break? "Mugs break." has two rare words of it; the bushes are three turns ago.

    What is left by rank are Tea's two fresh sentences (shorter first) and the cup; China was told already.
    """
    assert asked(SHORT) == [
        "Mugs break.",
        "Tea is a drink.",
        "Tea grows on bushes.",
        "A mug is a cup.",
        "Tea came from China.",
    ]


def test_retrieved_change_with_what_was_said() -> None:
    bushes = replace(
        SHORT, turns=(*SHORT.turns[1:], Turn("wizard", "Hm."), Turn("apprentice", "What grows on bushes?"))
    )
    assert asked(bushes, k=1) == ["Tea grows on bushes."]
    untold = replace(SHORT, turns=(SHORT.turns[0], Turn("wizard", "In China."), SHORT.turns[2]))
    assert asked(untold)[:2] == ["Mugs break.", "Tea came from China."]


def test_titles_count_when_sentences_are_ranked() -> None:
    articles = (Passage("Coffee", ("It is black.",)), Passage("Milk", ("It is white.",)))
    dialogue = Dialogue("milk:0", (Turn("apprentice", "And milk?", passages=articles),))
    assert asked(dialogue) == ["It is white.", "It is black."]


@pytest.mark.parametrize("k", [1, 2, 5, 100])
def test_at_most_k_are_retrieved_all_of_them_on_hand(k: int) -> None:
    assert asked(SHORT, k) == asked(SHORT)[:k]
    for place, example in zip((0, 2, 6), examples("retrieved", k=k), strict=True):
        on_hand = candidates(DIALOGUE, place)
        assert len(example.knowledge) == min(k, len(on_hand))
        assert not Counter(example.knowledge) - Counter(on_hand)


def many(count: int, topic: str | None = "Tea") -> list[Dialogue]:
    """Dialogues whose one reply has its gold sentence among eight on hand."""
    texts = tuple(f"Sentence {number}." for number in range(8))
    return [
        Dialogue(
            f"many:{n}",
            (Turn("apprentice", "Tea?"), Turn("wizard", "Yes.", f"Sentence {n % 8}.", target=True)),
            topic,
            topic_passage=Passage("Tea", texts),
        )
        for n in range(count)
    ]


def mixed(dialogues: list[Dialogue], seed: int = 0, **given: Any) -> list[Example]:
    return list(ground(dialogues, KnowledgeConfig(mode="mixed", **given), seed))


@pytest.mark.parametrize("distractors", [1, 4, 7, 20])
def test_mixed_hides_gold_among_distractors_at_every_place(distractors: int) -> None:
    places: Counter[int] = Counter()
    for example in mixed(many(800), distractors=distractors):
        texts = [sentence.text for sentence in example.knowledge]
        assert len(set(texts)) == len(texts) == 1 + min(distractors, 7)
        assert {sentence.title for sentence in example.knowledge} == {"Tea"}
        assert texts.count(example.gold_knowledge or "") == 1
        places[texts.index(example.gold_knowledge or "")] += 1
    expected = 800 / (1 + min(distractors, 7))
    assert len(places) == 1 + min(distractors, 7)
    assert all(abs(times - expected) < 4 * expected**0.5 for times in places.values())


def test_distractors_are_drawn_from_all_that_is_on_hand() -> None:
    drawn = Counter(s.text for e in mixed(many(800), distractors=2) for s in e.knowledge if s.text != e.gold_knowledge)
    assert len(drawn) == 8
    assert all(abs(times - 200) < 60 for times in drawn.values())


def test_a_turn_without_gold_sees_distractors_alone() -> None:
    opening = mixed([DIALOGUE], distractors=2)[0]
    assert opening.gold_knowledge is None
    assert len(opening.knowledge) == 2
    assert set(opening.knowledge) <= {Sentence("Tea", text) for text in TEA.sentences}


def test_gold_that_was_not_on_hand_is_there_without_a_title() -> None:
    last = mixed([DIALOGUE], distractors=9)[2]
    assert sorted(last.knowledge, key=str) == sorted(
        [(None, "Pots pour."), *(("Tea", t) for t in TEA.sentences)], key=str
    )


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5])
def test_dropout_is_the_share_of_turns_that_see_nothing(dropout: float) -> None:
    found = mixed(many(4000), dropout=dropout)
    share = sum(not example.knowledge for example in found) / len(found)
    assert abs(share - dropout) <= 4 * (dropout * (1 - dropout) / 4000) ** 0.5


def test_mixed_depends_on_seed_and_turn_alone() -> None:
    dialogues = many(50)
    shown = {example.id: example.knowledge for example in mixed(dialogues, dropout=0.2)}
    backwards = {example.id: example.knowledge for example in mixed(dialogues[::-1], dropout=0.2)}
    alone = {example.id: example.knowledge for d in dialogues for example in mixed([d], dropout=0.2)}
    assert shown == backwards == alone
    other_seed = {example.id: example.knowledge for example in mixed(dialogues, seed=1, dropout=0.2)}
    assert sum(shown[i] != other_seed[i] for i in shown) > 30
    same = [replace(dialogue, id=f"other{dialogue.id}") for dialogue in dialogues]
    assert sum(a != b.knowledge for a, b in zip(shown.values(), mixed(same, dropout=0.2), strict=True)) > 30
