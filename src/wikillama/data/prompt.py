"""Formats an example as chat messages, and chat messages as text in the format that a base model knows.

Llama 2's format is that of Meta's reference code (facebookresearch/llama, llama/generation.py, `chat_completion`):
each exchange is "<s>[INST] user [/INST] assistant </s>", the system prompt stands in the first user message. ChatML is
SmolLM2's own template. Text is kept apart from control tokens, so that no utterance can smuggle one in.
"""

import json
from dataclasses import dataclass
from typing import Literal

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a formatted conversation: a control token, or plain text that is tokenized as one string.

    Where a piece holds the reply to learn, `reply_from` is the character at which it begins.
    """

    text: str
    control: bool = False
    reply_from: int | None = None


def messages(example: Example, prompt: PromptConfig) -> list[Message]:
    """The example as alternating user and assistant messages, system first, the reply last.

    In the layout `chat` the knowledge stands in the last user message, next to what the reply answers; older knowledge
    is not repeated. In the layout `paper` it stands in the system message, as {title: text}.
    """
    topic = example.topic if prompt.topic else None
    system = [prompt.system.strip()]
    if topic:
        system.append(f"Topic: {topic}")
    if prompt.persona and example.persona:
        system.append(f"About the user: {example.persona.strip()}")
    if prompt.layout == "paper" and example.knowledge:
        system.append(f"Passages: {json.dumps(_by_title(example), ensure_ascii=False)}")
    turns: list[Message] = []
    for speaker, text in example.history:
        role: Role = "user" if speaker == "apprentice" else "assistant"
        if turns and turns[-1].role == role:
            turns[-1] = Message(role, f"{turns[-1].content}\n{text}")
        else:
            turns.append(Message(role, text))
    if not turns or turns[0].role == "assistant":  # the Wizard opened, but both formats begin with the user
        turns.insert(0, Message("user", f"Let's talk about {topic}." if topic else "Let's talk."))
    if turns[-1].role == "assistant":
        turns.append(Message("user", "Go on."))
    if prompt.layout == "chat" and example.knowledge:
        turns[-1] = Message("user", f"{_listed(example)}\n\n{turns[-1].content}")
    return [Message("system", "\n".join(system)), *turns, Message("assistant", example.response)]


def _listed(example: Example) -> str:
    texts = [sentence.text for sentence in example.knowledge]
    return f"Knowledge: {texts[0]}" if len(texts) == 1 else "Knowledge:" + "".join(f"\n- {text}" for text in texts)


def _by_title(example: Example) -> dict[str, str]:
    """What is shown of each article as one paragraph; sentences of an unknown article stand under the topic."""
    paragraphs: dict[str, list[str]] = {}
    for sentence in example.knowledge:
        paragraphs.setdefault(sentence.title or example.topic or "", []).append(sentence.text)
    return {title: " ".join(texts) for title, texts in paragraphs.items()}


def render(conversation: list[Message], template: Literal["llama2_chat", "chatml"]) -> list[Piece]:
    """The conversation in a model's format; its last message is the reply. The last piece is the end token."""
    return _llama2_chat(conversation) if template == "llama2_chat" else _chatml(conversation)


def _llama2_chat(conversation: list[Message]) -> list[Piece]:
    system, *turns = conversation
    pieces: list[Piece] = []
    for place in range(0, len(turns), 2):
        user, assistant = turns[place].content.strip(), turns[place + 1].content.strip()
        if place == 0:
            user = f"<<SYS>>\n{system.content}\n<</SYS>>\n\n{user}"
        asked = f"[INST] {user} [/INST]"
        last = place == len(turns) - 2
        pieces += [
            Piece("<s>", control=True),
            Piece(f"{asked} {assistant} ", reply_from=len(asked) if last else None),
            Piece("</s>", control=True),
        ]
    return pieces


def _chatml(conversation: list[Message]) -> list[Piece]:
    pieces: list[Piece] = []
    for place, message in enumerate(conversation):
        last = place == len(conversation) - 1
        head = f"{message.role}\n"
        pieces += [
            Piece("<|im_start|>", control=True),
            Piece(head + message.content.strip(), reply_from=len(head) if last else None),
            Piece("<|im_end|>", control=True),
        ]
        if not last:
            pieces.append(Piece("\n"))
    return pieces
