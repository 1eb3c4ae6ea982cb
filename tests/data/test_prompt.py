"""Examples as chat messages, and chat messages as pieces of text between control tokens."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example, Sentence
from wikillama.data.prompt import Message, messages, render

PROMPT = PromptConfig(template="chatml", system=" Be brief. ", topic=True, persona=False)
TALK = Example(
    id="0:2",
    dialogue_id="0",
    history=(("apprentice", "Tea?"), ("wizard", "Daily."), ("apprentice", "Which?")),
    response="Green.",
    knowledge=(Sentence("Green tea", "Green tea is tea."),),
    gold_knowledge="Green tea is tea.",
    topic="Tea",
    persona="i like tea.",
)

SPELT = {
    "llama2_chat": (
        "<s>[INST] <<SYS>>\nBe brief.\nTopic: Tea\n<</SYS>>\n\nTea? [/INST] Daily. </s>"
        "<s>[INST] Knowledge: Green tea is tea.\n\nWhich? [/INST] Green. </s>"
    ),
    "chatml": (
        "<|im_start|>system\nBe brief.\nTopic: Tea<|im_end|>\n"
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
        ("system", "Be brief.\nTopic: Tea"),
        ("user", "Tea?"),
        ("assistant", "Daily."),
        ("user", "Knowledge: Green tea is tea.\n\nWhich?"),
        ("assistant", "Green."),
    ]


def test_several_sentences_are_a_list() -> None:
    knowledge = (Sentence("Green tea", "It is green."), Sentence("Black tea", "It is black."), Sentence(None, "Tea!"))
    assert of(knowledge=knowledge)[3] == ("user", "Knowledge:\n- It is green.\n- It is black.\n- Tea!\n\nWhich?")


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
    system, asked, _ = messages(example, PROMPT.model_copy(update={"topic": False}))
    assert (system.content, asked.content) == ("Be brief.", "Let's talk.")


@pytest.mark.parametrize(
    ("topic", "persona", "shown"),
    [
        (False, False, "Be brief."),
        (True, False, "Be brief.\nTopic: Tea"),
        (False, True, "Be brief.\nAbout the user: i like tea."),
        (True, True, "Be brief.\nTopic: Tea\nAbout the user: i like tea."),
    ],
)
@pytest.mark.parametrize("layout", ["chat", "paper"])
def test_topic_and_persona_join_the_system_prompt_where_asked(
    layout: str, topic: bool, persona: bool, shown: str
) -> None:
    prompt = PROMPT.model_copy(update={"layout": layout, "topic": topic, "persona": persona})
    assert messages(replace(TALK, knowledge=()), prompt)[0].content == shown
    unknown = replace(TALK, knowledge=(), topic=None, persona=None)
    assert messages(unknown, prompt)[0].content == "Be brief."


def in_the_papers_layout(example: Example, **changes: Any) -> list[Message]:
    return messages(example, PROMPT.model_copy(update={"layout": "paper", **changes}))


def test_in_the_papers_layout_knowledge_stands_in_the_system_message_alone() -> None:
    knowledge = (
        Sentence("Green tea", 'Tea "of 茶".'),
        Sentence("Milk", "White."),
        Sentence("Green tea", "It is green."),
    )
    system, *turns = in_the_papers_layout(replace(TALK, knowledge=knowledge), persona=True)
    *before, passages = system.content.split("\n")
    assert before == ["Be brief.", "Topic: Tea", "About the user: i like tea."]
    assert passages.startswith("Passages: ")
    assert list(json.loads(passages.removeprefix("Passages: ")).items()) == [
        ("Green tea", 'Tea "of 茶". It is green.'),  # one paragraph an article, its sentences in the order given
        ("Milk", "White."),
    ]
    assert "茶" in passages
    assert [turn.content for turn in turns] == ["Tea?", "Daily.", "Which?", "Green."]


def test_in_the_papers_layout_a_sentence_of_an_unknown_article_stands_under_the_topic() -> None:
    example = replace(TALK, knowledge=(Sentence(None, "One."), Sentence("Tea", "Two."), Sentence("Milk", "Three.")))
    (system, *_) = in_the_papers_layout(example)
    assert system.content.endswith('Passages: {"Tea": "One. Two.", "Milk": "Three."}')
    (system, *_) = in_the_papers_layout(replace(example, topic=None))
    assert system.content == 'Be brief.\nPassages: {"": "One.", "Tea": "Two.", "Milk": "Three."}'


def test_the_papers_layout_without_knowledge_says_nothing_of_passages() -> None:
    assert in_the_papers_layout(replace(TALK, knowledge=()))[0].content == "Be brief.\nTopic: Tea"


def test_the_papers_prompt_in_llama2_chat() -> None:
    prompt = PROMPT.model_copy(update={"layout": "paper", "topic": False})
    text = "".join(piece.text for piece in render(messages(TALK, prompt), "llama2_chat"))
    assert text == (
        '<s>[INST] <<SYS>>\nBe brief.\nPassages: {"Green tea": "Green tea is tea."}\n<</SYS>>\n\n'
        "Tea? [/INST] Daily. </s><s>[INST] Which? [/INST] Green. </s>"
    )


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


def test_prompt_paper_keeps_the_models_template(compose: Callable[..., Any]) -> None:
    for model, template in (("llama2_7b", "llama2_chat"), ("smollm2_135m", "chatml")):
        prompt = compose(f"model={model}", "prompt=paper", name="prepare").prompt
        assert (prompt.layout, prompt.template) == ("paper", template)
        assert "wizard" in prompt.system
        assert "\n" not in prompt.system.strip()
    assert compose("prompt=chatml", name="prepare").prompt.layout == "chat"
