"""A page that shows what the model will see and what it will learn, before it is trained."""

import html
import io
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from wikillama.config.schema import PromptConfig
from wikillama.data.corpus import evenly
from wikillama.data.encode import Encoded, end_token_id
from wikillama.data.prepared import EncodedExamples, Prepared

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LABEL_REPORT = "label_report.html"
_SHOWN = 20  # examples
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #8886; border-radius: .4rem; padding: .7rem; }
mark { background: #ffd54d; color: #000; border-bottom: 2px solid #b26a00; }
i { font-style: normal; opacity: .55; font-size: .85em; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
.bad { color: #c00; font-weight: bold; }
figure { margin: 0; } figure svg { max-width: 100%; height: auto; background: #fff; }
"""


def write_label_report(
    path: Path, prepared: Prepared, tokenizer: "PreTrainedTokenizerBase", prompt: PromptConfig
) -> Path:
    """Write one self-contained HTML page: counts, checks of begin and end tokens, lengths, and examples as decoded.

    Examples are spread evenly over the split. Tokens that carry loss are marked; control tokens are shown as such.
    """
    facts = prepared.facts
    examples = EncodedExamples(prepared, evenly(facts.replies, _SHOWN))
    end = end_token_id(prompt, tokenizer)
    trained = facts.tokens - sum(prepared.table()["prompt_length"].to_pylist())
    counts = {
        "Wizard turns": f"{facts.replies:,}",
        "without knowledge": f"{facts.without_knowledge:,}",
        "tokens": f"{facts.tokens:,}",
        "of them trained (replies and their end tokens)": f"{trained:,} ({trained / facts.tokens:.1%})",
        "examples cut to fit": f"history {facts.cut_history:,}, prompt {facts.cut_prompt:,}",
        "end token": f"{html.escape(str(tokenizer.convert_ids_to_tokens(end)))} (id {end})",
        "padding": f"{html.escape(str(tokenizer.pad_token))} (id {tokenizer.pad_token_id})",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in counts.items())
    shown = "".join(
        f"<h3>{number}. {len(e.input_ids)} tokens, {len(e.input_ids) - e.prompt_length} trained</h3>"
        f"<p>{_checks(e, end, tokenizer)}</p><pre>{_marked(e, tokenizer)}</pre>"
        for number, e in enumerate((examples[i] for i in range(len(examples))), start=1)
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Labels of {facts.split}</title>'
        f"<style>{_STYLE}</style><h1>What the model sees, and what it learns: {facts.split}</h1>"
        f"<table>{rows}</table><h2>Lengths</h2><figure>{_histogram(prepared.lengths())}</figure>"
        f"<h2>{len(examples)} examples</h2><p><mark>Marked</mark> tokens carry loss; <i>pale</i> ones are control "
        f"tokens.</p>{shown}</html>\n"
    )
    path.write_text(page, encoding="utf-8")
    return path


def _checks(example: Encoded, end: int, tokenizer: "PreTrainedTokenizerBase") -> str:
    """What goes wrong most often: a reply without its end, and a begin token twice or behind the beginning."""
    reply, prompt = example.input_ids[example.prompt_length :], example.input_ids[: example.prompt_length]
    checks = {
        "the reply ends with the end token": reply[-1:] == [end],
        "and has no other": reply.count(end) == 1,
        "no two begin tokens in a row": not _doubled(example.input_ids, tokenizer.bos_token_id),
        "no padding inside": tokenizer.pad_token_id not in prompt + reply or tokenizer.pad_token_id == end,
    }
    return ", ".join(text if holds else f'<span class="bad">NOT: {text}</span>' for text, holds in checks.items())


def _doubled(ids: list[int], token: int | None) -> bool:
    return any(a == b == token for a, b in pairwise(ids))


def _marked(example: Encoded, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The decoded text, with control tokens pale and the trained part marked."""
    controls = set(tokenizer.all_special_ids)

    def shown(ids: list[int]) -> str:
        out, text = [], []
        for token in [*ids, None]:
            if token is not None and token not in controls:
                text.append(token)
                continue
            out.append(html.escape(str(tokenizer.decode(text, clean_up_tokenization_spaces=False))) if text else "")
            if token is not None:
                out.append(f"<i>{html.escape(str(tokenizer.convert_ids_to_tokens(token)))}</i>")
            text = []
        return "".join(out)

    prompt, reply = example.input_ids[: example.prompt_length], example.input_ids[example.prompt_length :]
    return f"{shown(prompt)}<mark>{shown(reply)}</mark>"


def _histogram(lengths: list[int]) -> str:
    """An SVG of how long the examples are."""
    from matplotlib.figure import Figure  # a second to import

    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.hist(lengths, bins=40, color="#4472a8")
    axes.set(xlabel="tokens of an example", ylabel="examples", title=f"n = {len(lengths):,}, longest {max(lengths):,}")
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]
