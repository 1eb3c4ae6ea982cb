"""The chat page: fields, columns and buttons, and which action each of them calls.

It works without a network beyond this server: system fonts, no analytics, no share link. Messages are shown as plain
text, never as Markdown or HTML.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wikillama.chat.actions import Actions, View
from wikillama.chat.answering import LONGEST
from wikillama.chat.conversation import Conversation
from wikillama.chat.knowledge import MODES, PASTED, Mode
from wikillama.tracking.review.queues import VERDICTS

TITLE = "Wiki-Llama"
STYLE = Path(__file__).with_name("style.css")
_KEY = "wikillama-conversation"  # of the browser's own storage: a reload goes on with the conversation
_AT_ONCE = 32  # questions that wait in the systems' own queue, which tells their places; gradio has 40 threads
_LOOKS = 0.05  # seconds between two updates of a reply that is being made


def theme() -> gr.themes.Base:
    sans, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # others would be fetched
    return gr.themes.Soft(font=sans, font_mono=mono)


def create_page(actions: Actions, first: str, second: str | None, mode: Mode) -> gr.Blocks:
    """The page. `first` and `second` are the systems that it begins with."""
    choices = actions.choices()
    names = [name for _, name in choices]
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        held = gr.BrowserState("", storage_key=_KEY, secret=_KEY)
        said = gr.State("")
        gr.Markdown(f"## {TITLE}")
        with gr.Row():
            system = gr.Dropdown(choices, value=first, label="System", elem_id="system", scale=3)
            both = gr.Checkbox(second is not None, label="Side by side", elem_id="both", scale=1, min_width=170)
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
                        max_length=LONGEST,
                        autofocus=True,
                        elem_id="message",
                        scale=8,
                        min_width=200,
                    )
                    send = gr.Button("Send", variant="primary", elem_id="send", min_width=70)
                    stop = gr.Button("Stop", elem_id="stop", min_width=70)
                    again = gr.Button("New", elem_id="again", min_width=70)
            with gr.Column(scale=3, min_width=300):
                shown = gr.Dropdown([], label="Knowledge of the reply to", elem_id="reply", interactive=True)
                beside = gr.HTML(actions.view(Conversation()).beside, elem_id="sources")
                verdict_left = gr.Radio(list(VERDICTS), label="Your verdict", elem_id="verdict_left")
                verdict_right = gr.Radio(
                    list(VERDICTS),
                    label="Your verdict on the right one",
                    visible=second is not None,
                    elem_id="verdict_right",
                )

        view = [left, right, shown, beside, verdict_left, verdict_right]
        asked = [held, said, system, both, other, known, topic, pasted]
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        told = {**quick, "queue": True, "concurrency_limit": _AT_ONCE}  # notes reach the page through the queue alone
        answer = partial(_answer, actions)  # one function: gradio counts its limit by that
        for sent in (box.submit, send.click):
            sent(actions.take, [held, box], [held, box, said], **told).then(
                answer, asked, view, trigger_mode="multiple", stream_every=_LOOKS, concurrency_id="answers", **told
            )
        stop.click(actions.stop, held, None, **quick)
        for afresh in (again.click, left.clear, right.clear):
            afresh(partial(_again, actions), held, [held, *view], **quick)
        page.load(partial(_choices, actions), None, [system, other], **quick)
        page.load(partial(_resume, actions), held, [held, *view], **told)
        known.change(lambda chosen: gr.update(visible=chosen == "mine"), known, pasted, **quick)
        both.change(lambda on: [gr.update(visible=on)] * 3, both, [other, right, verdict_right], **quick)
        shown.input(actions.look, [held, shown], view, **quick)
        for column, (messages, verdict) in enumerate(((left, verdict_left), (right, verdict_right))):
            messages.select(_chosen(actions), held, view, **quick)
            messages.like(_liked(actions, column), held, None, trigger_mode="multiple", **told)
            verdict.input(_judged(actions, column), [held, shown, verdict], verdict, trigger_mode="always_last", **told)
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


def _answer(actions: Actions, *asked: Any) -> Iterator[View]:
    yield from actions.say(*asked)


def _again(actions: Actions, id_: str) -> tuple[Any, ...]:
    new, view = actions.start_again(id_)
    return new, *view


def _choices(actions: Actions) -> tuple[Any, Any]:
    """What there is to talk to by now."""
    update = gr.update(choices=actions.choices())
    return update, update


def _resume(actions: Actions, id_: str) -> Iterator[tuple[Any, ...]]:
    for held, view in actions.resumed(id_):
        yield held, *view


def _chosen(actions: Actions) -> Callable[..., View]:
    def choose(id_: str, event: gr.SelectData) -> View:
        return actions.look(id_, actions.at(id_, _place(event.index)))

    return choose


def _liked(actions: Actions, column: int) -> Callable[..., None]:
    def like(id_: str, event: gr.LikeData) -> None:
        if isinstance(event.liked, bool):  # an empty text takes the thumb back, which leaves the label as it was
            actions.label(id_, actions.at(id_, _place(event.index)), column, thumbs_up=event.liked)

    return like


def _judged(actions: Actions, column: int) -> Callable[..., str | None]:
    def judge(id_: str, exchange_id: str | None, verdict: str) -> str | None:
        reply = actions.label(id_, exchange_id, column, verdict=verdict)
        return None if reply is None else reply.verdict

    return judge


def _place(index: int | Sequence[int]) -> int:
    return index if isinstance(index, int) else index[0]
