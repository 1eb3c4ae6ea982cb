"""The chat page: fields, columns and buttons, and which action each of them calls.

It works without a network beyond this server: system fonts, no analytics, no share link. Messages are shown as plain
text, never as Markdown or HTML.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wikillama.chat.actions import Actions, View, exchange_of
from wikillama.chat.answering import LONGEST
from wikillama.chat.conversation import Conversation
from wikillama.chat.knowledge import MODES, PASTED, Mode

TITLE = "Wiki-Llama"
STYLE = Path(__file__).with_name("style.css")
_KEY = "wikillama-conversation"  # of the browser's own storage: a reload goes on with the conversation
_VERDICTS = ["correct", "wrong", "ambiguous"]
_AT_ONCE = 32  # questions that wait in the systems' own queue, which tells their places; gradio has 40 threads
_LOOKS = 0.05  # seconds between two updates of a reply that is being made


def theme() -> gr.themes.Base:
    sans, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # others would be fetched
    return gr.themes.Soft(font=sans, font_mono=mono)


def create_page(actions: Actions, first: str, second: str | None, mode: Mode, note: str = "") -> gr.Blocks:
    """The page. `first` and `second` are the systems that it begins with; `note` is said above all."""
    names = actions.systems()
    choices = [(label, name) for name, label in names.items()]
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        held = gr.BrowserState("", storage_key=_KEY, secret=_KEY)
        said, place = gr.State(""), gr.State(None)
        gr.Markdown(f"## {TITLE}" + (f"\n{note}" if note else ""))
        with gr.Row():
            system = gr.Dropdown(choices, value=first, label="System", elem_id="system", scale=3)
            both = gr.Checkbox(second is not None, label="Side by side", elem_id="both", scale=1, min_width=150)
            other_value = second or next((name for name in names if name != first), first)
            other = gr.Dropdown(
                choices, value=other_value, label="Second system", visible=second is not None, elem_id="other", scale=3
            )
            known = gr.Radio(list(MODES), value=mode, label="Knowledge", elem_id="knowledge", scale=2, min_width=330)
            topic = gr.Textbox(label="Topic", placeholder="optional", max_length=200, elem_id="topic", scale=2)
        pasted = gr.Textbox(
            label="My knowledge",
            placeholder=f"Paste text to answer from, at most {PASTED:,} characters. Files cannot be uploaded.",
            lines=3,
            max_lines=8,
            max_length=PASTED,
            visible=mode == "mine",
            elem_id="pasted",
        )
        with gr.Row():
            with gr.Column(scale=6, min_width=320):
                with gr.Row():
                    left = _column("left", True)
                    right = _column("right", second is not None)
                with gr.Row(equal_height=True):
                    box = gr.Textbox(
                        show_label=False,
                        label="Message",
                        placeholder=f"At most {LONGEST:,} characters; Shift+Enter breaks the line",
                        lines=1,
                        max_lines=6,
                        autofocus=True,
                        elem_id="message",
                        scale=8,
                        min_width=200,
                    )
                    send = gr.Button("Send", variant="primary", elem_id="send", min_width=70)
                    stop = gr.Button("Stop", elem_id="stop", min_width=70)
                    again = gr.Button("New", elem_id="again", min_width=70)
            with gr.Column(scale=3, min_width=300):
                beside = gr.HTML(actions.view(Conversation()).beside, elem_id="sources", label="Knowledge")
                verdict_left = gr.Radio(_VERDICTS, label="Your verdict", elem_id="verdict_left")
                verdict_right = gr.Radio(
                    _VERDICTS,
                    label="Your verdict on the right one",
                    visible=second is not None,
                    elem_id="verdict_right",
                )

        shown = [left, right, beside, verdict_left, verdict_right]
        asked = [held, said, system, both, other, known, topic, pasted]
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        told = {**quick, "queue": True, "concurrency_limit": _AT_ONCE}  # notes reach the page through the queue alone
        for sent in (box.submit, send.click):
            sent(actions.take, [held, box], [held, box, said], **told).then(lambda: None, None, place, **quick).then(
                _streamed(actions), asked, shown, show_progress="hidden", api_visibility="private",
                concurrency_limit=_AT_ONCE, trigger_mode="multiple", stream_every=_LOOKS,
            )  # fmt: skip
        stop.click(actions.stop, held, None, **quick)
        for afresh in (again.click, left.clear, right.clear):
            afresh(partial(_again, actions), held, [held, place, *shown], **quick)
        page.load(partial(_load, actions), [held, system], [held, place, system, other, *shown], **quick)
        known.change(lambda chosen: gr.update(visible=chosen == "mine"), known, pasted, **quick)
        both.change(lambda on: [gr.update(visible=on)] * 3, both, [other, right, verdict_right], **quick)
        for column, (messages, verdict) in enumerate(((left, verdict_left), (right, verdict_right))):
            messages.select(_chosen(actions), held, [place, beside, verdict_left, verdict_right], **quick)
            messages.like(_liked(actions, column), held, None, **told)
            verdict.input(_judged(actions, column), [held, place, verdict], None, **told)
    return page  # type: ignore[no-any-return]


def _column(name: str, visible: bool) -> gr.Chatbot:
    return gr.Chatbot(
        label=name.capitalize(),
        show_label=False,
        visible=visible,
        elem_id=name,
        height="58vh",
        min_width=300,
        scale=3,
        render_markdown=False,
        latex_delimiters=[],
        buttons=[],  # a copy would hold the escaped text
        layout="bubble",
        placeholder="Ask something.",
        feedback_options=("Like", "Dislike"),
    )


def _streamed(actions: Actions) -> Callable[..., Iterator[View]]:
    def say(id_: str, said: str, *asked: Any) -> Iterator[View]:
        yield from actions.say(id_, said, *asked)

    return say


def _again(actions: Actions, id_: str) -> tuple[Any, ...]:
    new, view = actions.start_again(id_)
    return new, None, *view


def _load(actions: Actions, id_: str, first: str) -> tuple[Any, ...]:
    """What a page that was just opened shows: its conversation, and what there is to talk to by now."""
    conversation = actions.conversation(id_)
    names = actions.systems()
    choices = gr.update(choices=[(label, name) for name, label in names.items()])
    return conversation.id, None, choices, choices, *actions.view(conversation)


def _chosen(actions: Actions) -> Callable[..., tuple[Any, ...]]:
    def choose(id_: str, event: gr.SelectData) -> tuple[Any, ...]:
        place = exchange_of(event.index)
        return place, *actions.view(actions.conversation(id_), place)[2:]

    return choose


def _liked(actions: Actions, column: int) -> Callable[..., None]:
    def like(id_: str, event: gr.LikeData) -> None:
        if isinstance(event.liked, bool):  # an empty text takes the thumb back, which leaves the label as it was
            actions.label(id_, exchange_of(event.index), column, thumbs_up=event.liked)

    return like


def _judged(actions: Actions, column: int) -> Callable[..., None]:
    def judge(id_: str, place: int | None, verdict: str) -> None:
        actions.label(id_, place, column, verdict=verdict)

    return judge
