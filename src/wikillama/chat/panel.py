"""What stands beside a reply, as HTML: the sentences that it was given, which it used, and how long it took.

Everything that a model, a user or an article wrote goes through `escape`: it is shown as text, whatever it holds.
"""

import re
from html import escape

from wikillama.chat.conversation import Reply
from wikillama.chat.knowledge import Source

_ENDS = {"length": "cut off at its longest", "repetition": "stopped: it ran in circles", "closed": "stopped"}
_CUTS = {"history": "the oldest exchanges did not fit", "prompt": "the beginning of the message did not fit"}

_ENTITY = re.compile(r"&(?=[#A-Za-z])")


def literal(text: str) -> str:
    """Text for gradio's Chatbot, which reads messages as HTML, cleans them, and would drop "<script>" silently."""
    return _ENTITY.sub("&amp;", text).replace("<", "&lt;")


def panel(number: int, reply: Reply | None, side: str = "") -> str:
    """HTML of the knowledge beside the reply of an exchange."""
    if reply is None:
        return '<p class="quiet">What replies stand on is shown here, and which of it they used.</p>'
    parts = [f"<h3>{escape(side)}Reply {number}</h3>", f'<p class="quiet">{escape(timing(reply))}</p>']
    if reply.error:
        parts.append(f'<p class="problem" role="alert">{escape(reply.error)}</p>')
    if not reply.sources:
        parts.append('<p class="quiet">It was given no knowledge.</p>')
    else:
        said = f"{sum(source.used for source in reply.sources)} of {len(reply.sources)} sentences used"
        parts.append(f'<p class="quiet">{said if reply.done else "Knowledge given:"}</p>')
        parts += ['<ol class="sources">', *map(_item, reply.sources), "</ol>"]
    return "".join(parts)


def _item(source: Source) -> str:
    kind, mark = ("used", '<b class="mark">used</b> ') if source.used else ("unused", "")
    titles = dict.fromkeys(filter(None, (source.sentence.title, source.place)))
    origin = f"<cite>{escape(' · '.join(titles))}</cite>"
    return f'<li class="{kind}">{mark}<span>{escape(source.sentence.text)}</span>{origin}</li>'


def timing(reply: Reply) -> str:
    """Time to the first token, tokens a second, and what was out of the ordinary; what is waited for before that."""
    stats = reply.stats
    if stats is None:
        if not reply.done:
            return reply.status or "being made"
        return "stopped" if reply.text else "no answer"
    parts = [f"{stats.first_token_s:.1f} s to the first token", f"{stats.tokens_per_s:.0f} tokens/s"]
    if stats.waited_s >= 1:
        parts.insert(0, f"waited {stats.waited_s:.1f} s")
    parts += [text for text in (_ENDS.get(stats.end), _CUTS.get(stats.cut)) if text]
    if reply.trace_id is None:
        parts.append("not recorded")
    return " · ".join(parts)
