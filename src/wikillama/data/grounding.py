"""Turns dialogues into examples: which knowledge the model may see for each Wizard reply.

Of the reply's own turn nothing can be seen but its gold sentence, in the modes `gold` and `mixed`. What the original
collection retrieved for a turn was retrieved with that turn's text as the query: the reply would shine through it. On
hand for a reply are the passage of the chosen topic and what the two turns before it brought up, as in ParlAI
(parlai/tasks/wizard_of_wikipedia/agents.py, facebookresearch/ParlAI at a29567f7).

With `source: index` sentences come from an index of articles instead, asked with the topic and the turns before the
reply; rows that bring no passages have no other way.
"""

import hashlib
import random
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from wikillama.config.schema import KnowledgeConfig
from wikillama.data.dialogue import Dialogue, Example, Passage, Sentence, Speaker, Turn
from wikillama.data.retrieval.on_demand import IndexSource
from wikillama.data.selection import rank

if TYPE_CHECKING:
    from wikillama.data.retrieval.index import Index


def ground(
    dialogues: Iterable[Dialogue], knowledge: KnowledgeConfig, seed: int = 0, index: IndexSource | None = None
) -> Iterator[Example]:
    """Yield an example for each target turn, in order, holding a few dialogues in memory.

    `seed` decides on distractors and dropout in `mixed` mode, turn by turn: the order of dialogues does not matter.
    `index` is what knowledge of the source `index` is looked up in.
    """
    if knowledge.mode == "shuffled":
        yield from _shuffled(dialogues)
        return
    found: Index | None = None
    if knowledge.source == "index" and knowledge.mode in ("retrieved", "mixed"):
        assert index is not None  # who asks for it, gives it
        found = index.open()
    for dialogue in dialogues:
        for place, turn in _targets(dialogue):
            yield _example(dialogue, place, turn, _shown(dialogue, place, turn, knowledge, seed, found))


def _targets(dialogue: Dialogue) -> Iterator[tuple[int, Turn]]:
    return ((place, turn) for place, turn in enumerate(dialogue.turns) if turn.target)


def _example(dialogue: Dialogue, place: int, turn: Turn, shown: tuple[Sentence, ...]) -> Example:
    history: list[tuple[Speaker, str]] = [(t.speaker, t.text) for t in dialogue.turns[:place]]
    return Example(
        id=f"{dialogue.id}:{place}",
        dialogue_id=dialogue.id,
        history=tuple(history),
        response=turn.text,
        knowledge=shown,
        gold_knowledge=turn.knowledge,
        topic=dialogue.topic,
        persona=dialogue.persona,
    )


def _shown(
    dialogue: Dialogue, place: int, turn: Turn, knowledge: KnowledgeConfig, seed: int, index: "Index | None"
) -> tuple[Sentence, ...]:
    if knowledge.mode == "none":
        return ()
    on_hand = candidates(dialogue, place) if index is None else _looked_up(dialogue, place, knowledge, index)
    gold = [_titled(turn.knowledge, on_hand)] if turn.knowledge else []
    if knowledge.mode == "gold":
        return tuple(gold)
    if knowledge.mode == "retrieved":
        ranked = on_hand if index is not None else _retrieved(dialogue, place, on_hand)
        return tuple(ranked[: knowledge.k])
    draw = random.Random(hashlib.sha256(f"{seed} {dialogue.id}:{place}".encode()).digest())
    if draw.random() < knowledge.dropout:
        return ()
    others = [sentence for sentence in on_hand if sentence.text.strip() != turn.knowledge]
    mixed = gold + draw.sample(others, min(knowledge.distractors, len(others)))
    draw.shuffle(mixed)
    return tuple(mixed)


def candidates(dialogue: Dialogue, place: int) -> list[Sentence]:
    """The sentences on hand before the turn at `place`, in ParlAI's order.

    The chosen topic's passage comes first, then what the turn before retrieved, then what the turn before that did; of
    passages with the same title the first counts.
    """
    topic = [dialogue.topic_passage] if dialogue.topic_passage else []
    before = reversed(dialogue.turns[max(0, place - 2) : place])
    passages: dict[str, Passage] = {}
    for passage in chain(topic, *(turn.passages for turn in before)):
        passages.setdefault(passage.title, passage)
    return [Sentence(passage.title, text) for passage in passages.values() for text in passage.sentences]


def _titled(text: str, on_hand: list[Sentence]) -> Sentence:
    """The gold sentence with its title where it was on hand; the title that its own turn records is not looked at."""
    return next((sentence for sentence in on_hand if sentence.text.strip() == text), Sentence(None, text))


def _retrieved(dialogue: Dialogue, place: int, on_hand: list[Sentence]) -> list[Sentence]:
    """The sentences on hand, ranked against topic and last two turns, as the original collection's selector was asked.

    Sentences that the Wizard has used already come last, since people seldom tell a thing twice.
    """
    used = {turn.knowledge for turn in dialogue.turns[:place]}
    fresh = [s for s in on_hand if s.text.strip() not in used]
    query = " ".join([dialogue.topic or "", *(turn.text for turn in dialogue.turns[max(0, place - 2) : place])])
    ranked = [fresh[i] for i in rank(query, [f"{s.title} {s.text}" for s in fresh])]
    return ranked + [s for s in on_hand if s.text.strip() in used]


def _looked_up(dialogue: Dialogue, place: int, knowledge: KnowledgeConfig, index: "Index") -> list[Sentence]:
    """The best sentences of an index, best first: as many as are shown, or one more than are to distract.

    One of those may be the gold sentence. What the Wizard has used already comes later than it would.
    """
    turns = [turn.text for turn in dialogue.turns[:place]]
    told = [turn.knowledge for turn in dialogue.turns[:place] if turn.knowledge]
    count = knowledge.k if knowledge.mode == "retrieved" else knowledge.distractors + 1
    return [found.sentence for found in index.search(dialogue.topic, turns, count, told)]


def _shuffled(dialogues: Iterable[Dialogue]) -> Iterator[Example]:
    """Turns that used knowledge see a sentence that another dialogue used, of another topic where there is one.

    The sentences come from the next dialogue that will do, those for the last dialogues from one of the first. Order
    is kept, so that a limited evaluation takes the same turns in every mode.
    """
    waiting: deque[Dialogue] = deque()
    first_donors: list[Dialogue] = []
    for dialogue in dialogues:
        if any(turn.knowledge for _, turn in _targets(dialogue)):
            if len(first_donors) < 2 or all(dialogue.topic != donor.topic for donor in first_donors):
                first_donors = [*first_donors[:2], dialogue]
            while waiting and (dialogue.topic is None or dialogue.topic != waiting[0].topic):
                if not (foreign := _foreign(dialogue, waiting[0])):
                    break
                yield from _with_knowledge(waiting.popleft(), foreign)
        waiting.append(dialogue)
    for receiver in waiting:
        donors = [d for d in first_donors if _foreign(d, receiver)]
        donor = next((d for d in donors if d.topic != receiver.topic), next(iter(donors), None))
        yield from _with_knowledge(receiver, _foreign(donor, receiver) if donor else [])


def _foreign(donor: Dialogue, receiver: Dialogue) -> list[str]:
    """What the donor used and the receiver, which may be the same dialogue, did not."""
    own = {turn.knowledge for turn in receiver.turns}
    return [turn.knowledge for _, turn in _targets(donor) if turn.knowledge and turn.knowledge not in own]


def _with_knowledge(receiver: Dialogue, foreign: list[str]) -> Iterator[Example]:
    for number, (place, turn) in enumerate(_targets(receiver)):
        shown = (Sentence(None, foreign[number % len(foreign)]),) if foreign and turn.knowledge else ()
        yield _example(receiver, place, turn, shown)
