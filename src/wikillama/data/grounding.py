"""Turns dialogues into examples: which knowledge the model may see for each Wizard reply."""

from collections.abc import Iterator

from wikillama.config.schema import KnowledgeConfig
from wikillama.data.dialogue import Dialogue, Example


def examples(dialogue: Dialogue, knowledge: KnowledgeConfig) -> Iterator[Example]:
    """Yield an example for each target turn.

    Of the turn itself only the gold sentence can be seen, and only in `gold` mode: what the original collection
    retrieved for a turn was retrieved with that turn's reply in view.
    """
    history: list[tuple[str, str]] = []
    for place, turn in enumerate(dialogue.turns):
        if turn.target:
            shown = (turn.knowledge,) if knowledge.mode == "gold" and turn.knowledge else ()
            yield Example(
                id=f"{dialogue.id}:{place}",
                dialogue_id=dialogue.id,
                history=tuple(history),  # type: ignore[arg-type]
                response=turn.text,
                knowledge=shown,
                gold_knowledge=turn.knowledge,
                topic=dialogue.topic,
                persona=dialogue.persona,
            )
        history.append((turn.speaker, turn.text))
