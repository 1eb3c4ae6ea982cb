"""Examples as chat messages, and chat messages as pieces of text between control tokens."""

from collections.abc import Callable
from typing import Any

import pytest

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example
from wikillama.data.prompt import messages, render

PROMPT = PromptConfig(template="chatml", system=" Be brief. ", topic=True, persona=False)
TALK = Example(
    id="0:2",
    dialogue_id="0",
    history=(("apprentice", "Tea?"), ("wizard", "Daily."), ("apprentice", "Which?")),
    response="Green.",
    knowledge=("Green tea is tea.",),
    gold_knowledge="Green tea is tea.",
    topic="Tea",
    persona="i like tea.",
)

SPELT = {
    "llama2_chat": (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nTea? [/INST] Daily. </s>"
        "<s>[INST] Knowledge: Green tea is tea.\n\nWhich? [/INST] Green. </s>"
    ),
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nTea?<|im_end|>\n"
        "<|im_start|>assistant\nDaily.<|im_end|>\n"
        "<|im_start|>user\nKnowledge: Green tea is tea.\n\nWhich?<|im_end|>\n"
        "<|im_start|>assistant\nGreen.<|im_end|>"
    ),
}


def of(example: Example = TALK, **changes: Any) -> list[tuple[str, str]]:
    values = {name: getattr(example, name) for name in Example.__slots__} | changes
    return [(m.role, m.content) for m in messages(Example(**values), PROMPT)]


def test_knowledge_stands_in_the_last_user_message_alone() -> None:
    assert of() == [
        ("system", "Be brief."),
        ("user", "Tea?"),
        ("assistant", "Daily."),
        ("user", "Knowledge: Green tea is tea.\n\nWhich?"),
        ("assistant", "Green."),
    ]


def test_without_knowledge_the_prompt_has_no_word_of_it() -> None:
    assert of(knowledge=())[3] == ("user", "Which?")
    assert "nowledge" not in str(of(knowledge=()))


@pytest.mark.parametrize(
    ("topic", "opener"), [("Tea", "Let's talk about Tea."), (None, "Let's talk.")], ids=["topic", "no topic"]
)
@pytest.mark.parametrize("history", [(), (("wizard", "Hello."), ("apprentice", "Hi."))], ids=["empty", "opened"])
def test_a_wizard_that_opens_is_asked_to(history: Any, topic: str | None, opener: str) -> None:
    conversation = of(history=history, knowledge=(), topic=topic)
    assert conversation[1] == ("user", opener)
    assert [role for role, _ in conversation[1:]] == ["user", "assistant"] * (1 + len(history) // 2)


def test_topic_can_be_kept_from_the_prompt() -> None:
    example = Example(id="0:0", dialogue_id="0", history=(), response="Hello.", topic="Tea")
    assert messages(example, PROMPT.model_copy(update={"topic": False}))[1].content == "Let's talk."


@pytest.mark.parametrize(("persona", "shown"), [(True, "Be brief.\nAbout the user: i like tea."), (False, "Be brief.")])
def test_persona_joins_the_system_prompt_where_asked(persona: bool, shown: str) -> None:
    assert messages(TALK, PROMPT.model_copy(update={"persona": persona}))[0].content == shown


@pytest.mark.parametrize(
    "history",
    [
        (("apprentice", "a"), ("apprentice", "b")),
        (("wizard", "a"), ("wizard", "b")),
        (("apprentice", "a"), ("wizard", "b")),
        (("wizard", "a"),),
        (("apprentice", "a"), ("wizard", "b"), ("wizard", "c"), ("apprentice", "d"), ("apprentice", "e")),
    ],
)
def test_roles_alternate_whoever_spoke_and_nothing_is_lost(history: Any) -> None:
    conversation = of(history=history)
    roles = [role for role, _ in conversation]
    assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
    said = [line for _, content in conversation[1:-1] for line in content.split("\n") if len(line) == 1]
    assert said == [text for _, text in history]


@pytest.mark.parametrize("template", ["llama2_chat", "chatml"])
def test_rendered_pieces_spell_the_format(template: Any) -> None:
    text = "".join(piece.text for piece in render(messages(TALK, PROMPT), template))
    assert text == SPELT[template]


@pytest.mark.parametrize("template", ["llama2_chat", "chatml"])
def test_one_piece_alone_holds_the_reply(template: Any) -> None:
    pieces = render(messages(TALK, PROMPT), template)
    (place,) = [i for i, piece in enumerate(pieces) if piece.reply_from is not None]
    assert pieces[place].text[pieces[place].reply_from :].strip() == "Green."
    assert place == len(pieces) - 2
    assert pieces[-1].control


def test_own_prompt_is_the_models(compose: Callable[..., Any]) -> None:
    assert compose("model=llama2_7b", name="prepare").prompt.template == "llama2_chat"
    assert compose("model=smollm2_135m", name="prepare").prompt.template == "chatml"
    assert compose("model=smollm2_135m", "prompt=llama2_chat", name="prepare").prompt.template == "llama2_chat"
