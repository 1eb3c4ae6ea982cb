"""What the model may see of a dialogue: the past, and of the turn itself the gold sentence alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.schema import KnowledgeConfig
from wikillama.data.dialogue import Dialogue, Example, Turn
from wikillama.data.grounding import examples
from wikillama.data.prompt import messages, render
from wikillama.data.wow import read_wow

GOLD, NONE = KnowledgeConfig(mode="gold"), KnowledgeConfig(mode="none")
DIALOGUE = Dialogue(
    id="tea:0",
    topic="Tea",
    persona="i like tea.",
    turns=(
        Turn("wizard", "Shall we talk?", target=True),
        Turn("apprentice", "Yes, on tea."),
        Turn("wizard", "It is a drink.", knowledge="Tea is a drink.", target=True),
        Turn("apprentice", "I know."),
        Turn("wizard", "Not scored.", knowledge="Tea is hot.", target=False),
    ),
)


@pytest.mark.parametrize(("mode", "shown"), [(GOLD, ("Tea is a drink.",)), (NONE, ())])
def test_each_target_is_an_example(mode: KnowledgeConfig, shown: tuple[str, ...]) -> None:
    opening, second = examples(DIALOGUE, mode)
    assert opening == Example(
        id="tea:0:0", dialogue_id="tea:0", history=(), response="Shall we talk?", topic="Tea", persona="i like tea."
    )
    assert second.history == (("wizard", "Shall we talk?"), ("apprentice", "Yes, on tea."))
    assert (second.response, second.knowledge) == ("It is a drink.", shown)
    assert second.gold_knowledge == "Tea is a drink."  # for knowledge-F1, whatever the prompt shows


def raw_turn(speaker: str, number: int) -> dict[str, Any]:
    """A turn each text of which names the turn and the field that it stands in."""
    return {
        "speaker": speaker,
        "text": f"text{number}",
        "retrieved_topics": [f"retrieved_topic{number}"],
        "retrieved_passages": [{f"retrieved_title{number}": [f"retrieved_sentence{number}"]}],
        "checked_sentence": {f"sentence_key{number}": f"gold{number}", f"more_key{number}": f"more{number}"},
        "checked_passage": {f"passage_key{number}": f"passage{number}"},
        "candidate_responses": [f"candidate{number}"],
    }


@pytest.mark.parametrize("mode", [GOLD, NONE], ids=["gold", "none"])
@pytest.mark.parametrize("template", ["llama2_chat", "chatml"])
@pytest.mark.parametrize("wizard_opens", [True, False])
def test_nothing_of_the_turn_but_its_gold_sentence_is_shown(
    compose: Callable[..., Any], tmp_path: Path, mode: KnowledgeConfig, template: str, wizard_opens: bool
) -> None:
    seats = ["0_Wizard", "1_Apprentice"] if wizard_opens else ["0_Apprentice", "1_Wizard"]
    turns = [raw_turn(seats[number % 2], number) for number in range(6)]
    path = tmp_path / "dialogues.json"
    path.write_text(json.dumps([{"chosen_topic": "Tea", "chosen_topic_passage": ["article"], "dialog": turns}]))
    prompt = compose(f"prompt={template}", name="prepare").prompt
    (dialogue,) = read_wow(path)
    for example in examples(dialogue, mode):
        now = int(example.response.removeprefix("text"))
        pieces = render(messages(example, prompt), prompt.template)
        shown = "".join(piece.text[: piece.reply_from] for piece in pieces)  # a slice to None is all of it
        gold = [f"gold{now}"] if mode is GOLD else []
        everything = [*(text for turn in turns for text in texts(turn)), "article"]
        assert {text for text in everything if text in shown} == {*(f"text{number}" for number in range(now)), *gold}


def texts(value: Any) -> list[str]:
    """All strings in a nest of lists and dictionaries, keys of checked and retrieved things included."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in ([key] * (key[-1].isdigit()) + texts(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value]
