"""The model card of a version, in Markdown: for the registry's page, and for a folder that leaves this machine."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.wording import decimals, with_interval
from wikillama.model.recipe import Recipe
from wikillama.tracking.registry.tags import counts_in, metrics_in, peft_name, targets

LONGEST = 5000  # characters of a description that MLflow's database has room for
_LONGEST_PROMPT = 400

_NAMES = {
    "loss": ("loss (nats a token)", 3), "ppl": ("perplexity", 2), "f1": ("F1", 3), "kf1": ("knowledge-F1", 3),
}  # fmt: skip


class Licence(NamedTuple):
    """A licence as the Hub names it, and as people do."""

    id: str
    name: str


# by the beginning of the base's id on the Hub
_LICENCES = {
    "meta-llama/Llama-2-": Licence("llama2", "Llama 2 Community License"),
    "HuggingFaceTB/SmolLM2-": Licence("apache-2.0", "Apache-2.0"),
}


def licence_of(recipe: Recipe) -> Licence | None:
    """The licence of the base, None where it is not known here."""
    hub_id = recipe.model.hub_id or ""
    return next((licence for start, licence in _LICENCES.items() if hub_id.startswith(start)), None)


def registry_card(name: str, number: str, tags: Mapping[str, str], params: Mapping[str, str], recipe: Recipe) -> str:
    """The description of a registered version. `params` are those of its run; at most LONGEST characters."""
    uri = f"models:/{name}/{number}"
    usage = f"""\
## How to load it

```python
from wikillama import load_adapter
load_adapter("{uri}").reply(["Do you know the Ford Mustang?"], ["Ford built the Mustang from 1964 on."])

import mlflow
mlflow.pyfunc.load_model("{uri}")
```

```
python chat.py adapter={uri}
python evaluate.py systems='[base,{uri}]' suite=qa200
python registry.py export version={number} out=FOLDER   # for the Hub, and for vLLM's --lora-modules
```
"""
    # no title: the page has one, and the list of versions shows the first line
    card = "\n".join([_head(tags, params, recipe), usage, _limits(tags, recipe)])
    return card if len(card) <= LONGEST else card[: LONGEST - 4] + "\n..."


def folder_card(
    title: str,
    front: Mapping[str, Any],
    usage: str,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    recipe: Recipe,
    merged: bool = False,
) -> str:
    """The README.md of a folder for the Hub: its metadata as YAML, then the card."""
    metadata = yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)
    body = "\n".join([_head(tags, params, recipe, merged), usage, _limits(tags, recipe)])
    return f"---\n{metadata}---\n\n# {title}\n\n{body}"


def front_matter(recipe: Recipe, library: str, relation: str) -> dict[str, Any]:
    """What the Hub reads of a card. `base_model` is left out where the Hub has none such."""
    licence = licence_of(recipe)
    front: dict[str, Any] = {"base_model": recipe.model.hub_id, "base_model_relation": relation}
    if recipe.model.hub_id is None:
        front = {}
    kinds = ["lora"] if library == "peft" else []
    return front | {
        "library_name": library,
        "license": licence.id if licence else "other",
        "pipeline_tag": "text-generation",
        "language": "en",
        "tags": [*kinds, "dialogue", "knowledge-grounded", "wizard-of-wikipedia", "wiki-llama"],
    }


def _head(tags: Mapping[str, str], params: Mapping[str, str], recipe: Recipe, merged: bool = False) -> str:
    random = "\n**Random weights: figures of speed and memory only. What it says means nothing.**\n"
    rows = "\n".join(f"| {key} | {_cell(value)} |" for key, value in _facts(tags, params, recipe).items() if value)
    return f"""\
{_what(recipe, merged)} It takes a conversation and sentences of knowledge, and answers from them.
{random if recipe.model.weights == "random" else ""}
| | |
| --- | --- |
{rows}

{_scores(tags)}"""


def _what(recipe: Recipe, merged: bool) -> str:
    if merged:
        return f"{recipe.base_id} with a LoRA adapter for knowledge-grounded dialogue merged into it."
    if recipe.peft.method == "none":
        return f"All weights of {recipe.base_id}, tuned for knowledge-grounded dialogue."
    return f"A LoRA adapter that tunes {recipe.base_id} for knowledge-grounded dialogue."


def _facts(tags: Mapping[str, str], params: Mapping[str, str], recipe: Recipe) -> dict[str, str]:
    peft, prompt = recipe.peft, recipe.prompt
    quantization = tags.get("quantization", recipe.quantization.type).replace(" double", ", double quantization")
    licence = licence_of(recipe)
    adapter = f"{tags.get('size_mb', '?')} MB of safetensors"
    if peft.method != "none":
        adapter = f"{peft_name(recipe)}, rank {peft.r}, alpha {peft.alpha:g}, on {targets(recipe)}; {adapter}"
    return {
        "Base": f"{recipe.base_id}, weights {recipe.base_weights_hash[:16]}",
        "Licence of the base": licence.name if licence else "not recorded here; see the base",
        "Base stored as": f"{quantization}; computes in {recipe.dtype}",
        "Weights": adapter,
        "Data": _data(tags, params),
        "Knowledge": recipe.knowledge.mode,
        "Prompt": f"{prompt.template}, layout {prompt.layout}: {_short(prompt.system)}",
        "Context": f"{recipe.max_length} tokens, of them {recipe.max_new_tokens} for the reply",
        "Training": _training(tags, params),
        "Code": "" if tags.get("source") == "import" else _code(tags),
    }


def _code(tags: Mapping[str, str]) -> str:
    commit, _, changed = tags.get("git_commit", "unknown").partition(" ")
    return f"commit {commit}" + (", with changes that are not committed" if changed else "")


def _data(tags: Mapping[str, str], params: Mapping[str, str]) -> str:
    if tags.get("source") == "import":
        return "not recorded: imported"
    limit = params.get("data.limit_train", "None")
    turns = "" if limit == "None" else f", at most {limit} turns"
    return f"{params.get('data.name', '?')}{turns}; fingerprint {tags.get('data_fingerprint', '?')[:16]}"


def _training(tags: Mapping[str, str], params: Mapping[str, str]) -> str:
    if tags.get("source") == "import":
        return "not recorded: imported"
    told = {
        "optimizer": "optim.name", "lr": "optim.lr", "schedule": "schedule.name", "warmup": "schedule.warmup_ratio",
        "weight decay": "optim.weight_decay", "epochs at most": "trainer.max_epochs",
        "steps at most": "trainer.max_steps",
        "batch": "trainer.batch_size", "accumulated": "trainer.accumulate_grad_batches",
        "clip": "trainer.gradient_clip_norm", "packing": "packing.strategy", "seed": "seed",
    }  # fmt: skip
    known = {label: params[key] for label, key in told.items() if params.get(key, "None") != "None"}
    return ", ".join(f"{label} {value}" for label, value in known.items())


def _scores(tags: Mapping[str, str]) -> str:
    suites, counts = metrics_in(tags), counts_in(tags)
    if not suites and not counts:
        return "## Scores\n\nNot evaluated yet.\n"
    rows = [
        f"| {suite} | {mode} | {label} | {_figure(metrics[name], digits)} | {metrics[name].n:,} turns |"
        for (suite, mode), metrics in suites.items()
        for name, (label, digits) in _NAMES.items()
        if name in metrics
    ]
    rows += [
        f"| {suite} | {mode} | correct, wrong, ambiguous by {_cell(found.judge)} | {' / '.join(map(str, found[:3]))} "
        f"| {sum(found[:3]):,} questions |"
        for (suite, mode), found in counts.items()
    ]
    head = "| on | knowledge | metric | value [95 %] | over |\n| --- | --- | --- | --- | --- |"
    return f"## Scores\n\nIntervals are over resampled dialogues.\n\n{head}\n" + "\n".join(rows) + "\n"


def _figure(estimate: Estimate, digits: int) -> str:
    return with_interval(estimate, lambda value: decimals(value, digits), ", ")


def _limits(tags: Mapping[str, str], recipe: Recipe) -> str:
    lines = [
        "It repeats what its knowledge says, true or not; without knowledge it may invent.",
        "English only. No filter of harmful replies beyond what the base has learnt.",
        f"It is tuned for the prompt above and for the base stored as {tags.get('quantization', '?')}; "
        "elsewhere its scores are not known.",
    ]
    if recipe.model.wheel is not None and recipe.model.path is None:
        lines.append(
            f"Its base was unpacked from {recipe.model.wheel.file}: other files of that model differ slightly."
        )
    licence = licence_of(recipe)
    if licence is not None and licence.id == "llama2":
        lines.append(
            "A derivative of Llama 2: its licence and use policy bind whoever uses it. Llama 2 is licensed under the "
            "LLAMA 2 Community License, Copyright (c) Meta Platforms, Inc. All Rights Reserved."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _cell(text: str) -> str:
    """A text within a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_PROMPT else text[:_LONGEST_PROMPT] + " ..."
