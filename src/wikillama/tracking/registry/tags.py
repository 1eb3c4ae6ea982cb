"""The tags of a registered version: what it is, in words that a table and a test can read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from wikillama.evaluation.matrices import LABELS
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.system import fingerprint
from wikillama.model.files import tokenizer_fingerprint
from wikillama.model.recipe import Recipe
from wikillama.tracking.facts import code_tags

Source = Literal["train", "import"]

HEADLINE = ("loss", "ppl", "f1", "kf1")  # metrics of a suite of dialogues that a version carries
FINGERPRINT = "fingerprint"  # of the system, as in `evaluation.system`: by it later evaluations are found
_USUAL, _MODES = "gold", ("retrieved", "none", "shuffled")  # of knowledge: what goes without saying, and the others
_MB = 1e6
_ESTIMATE = re.compile(r"(\S+) \[(\S+), (\S+)\] of (\d+)")


def version_tags(
    recipe: Recipe, folder: Path, cache_dir: str, source: Source, data_fingerprint: str | None
) -> dict[str, str]:
    """What the adapter in `folder` is: its base, what was trained and how it is prompted, code and data by hash.

    `data_fingerprint` is None where the data are not known.
    """
    quantization, lora = recipe.quantization, recipe.peft.method != "none"
    code = code_tags()
    commit = code.get("wikillama.git_commit", "") + (" dirty" if code.get("wikillama.git_dirty") == "true" else "")
    tags = {
        "source": source,
        "base_model": recipe.base_id,
        "base_weights_hash": recipe.base_weights_hash,
        "weights": "random" if recipe.model.weights == "random" else "",
        "quantization": quantization.type + (" double" if quantization.double_quant else ""),
        "prompt_template": recipe.prompt.template,
        "tokenizer_fingerprint": tokenizer_fingerprint(recipe.model, cache_dir),
        "knowledge": recipe.knowledge.for_split("test").mode,
        "peft": peft_name(recipe),
        "rank": str(recipe.peft.r) if lora else "",
        "target_modules": targets(recipe) if lora else "all weights",
        "size_mb": f"{weights_mb(folder):.1f}",
        "data_fingerprint": data_fingerprint or "",
        "git_commit": commit,
        FINGERPRINT: fingerprint(recipe.base_weights_hash, recipe.torch_dtype, quantization, folder),
    }
    return {key: value for key, value in tags.items() if value}


def peft_name(recipe: Recipe) -> str:
    """The method as users choose it: qlora, lora, dora, rslora or none."""
    peft = recipe.peft
    kinds = [name for name, used in (("dora", peft.use_dora), ("rslora", peft.use_rslora)) if used]
    return " ".join(kinds) if kinds and peft.method == "lora" else " ".join([peft.method, *kinds])


def targets(recipe: Recipe) -> str:
    found = recipe.peft.target_modules
    return found if isinstance(found, str) else ", ".join(sorted(found))


def weights_mb(folder: Path) -> float:
    """The size of an adapter folder's weights in MB of 10^6 bytes."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / _MB


def metric_tags(suite: str, knowledge: str, metrics: Mapping[str, Estimate]) -> dict[str, str]:
    """The headline metrics of held-out turns with their intervals, as `<suite>/f1`: `0.4221 [0.3450, 0.5040] of 32`.

    With other knowledge than gold, its mode is a part of the name: `<suite>/none/f1`.
    """
    return {f"{_scope(suite, knowledge)}/{name}": written(metrics[name]) for name in HEADLINE if name in metrics}


def count_tags(suite: str, knowledge: str, counts: tuple[int, int, int], judge: str) -> dict[str, str]:
    """Correct, wrong and ambiguous answers and who said so, as `qa200/correct`: `35`; named as in `metric_tags`."""
    scope = _scope(suite, knowledge)
    return {f"{scope}/{label}": str(n) for label, n in zip(LABELS, counts, strict=True)} | {f"{scope}/judge": judge}


def _scope(suite: str, knowledge: str) -> str:
    return suite if knowledge == _USUAL else f"{suite}/{knowledge}"


def _unscoped(scope: str) -> tuple[str, str]:
    """Suite and knowledge of a tag's name."""
    suite, _, knowledge = scope.rpartition("/")
    return (suite, knowledge) if suite and knowledge in _MODES else (scope, _USUAL)


def written(estimate: Estimate) -> str:
    """An estimate as a tag; `read` reads it back."""
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}] of {estimate.n}"


def read(tag: str) -> Estimate | None:
    """The estimate in a tag, None where it holds none."""
    found = _ESTIMATE.fullmatch(tag)
    return Estimate(float(found[1]), float(found[2]), float(found[3]), int(found[4])) if found else None


def metrics_in(tags: Mapping[str, str]) -> dict[tuple[str, str], dict[str, Estimate]]:
    """The metrics that tags hold, by suite and knowledge."""
    found: dict[tuple[str, str], dict[str, Estimate]] = {}
    for key, value in tags.items():
        scope, _, name = key.rpartition("/")
        estimate = read(value)
        if scope and estimate is not None and name in HEADLINE:
            found.setdefault(_unscoped(scope), {})[name] = estimate
    return found


class Counts(NamedTuple):
    """Answers to questions, and who judged them."""

    correct: int
    wrong: int
    ambiguous: int
    judge: str


def counts_in(tags: Mapping[str, str]) -> dict[tuple[str, str], Counts]:
    """The answers that tags count, by suite and knowledge."""
    found = {}
    for scope in sorted(key.rpartition("/")[0] for key in tags if key.endswith(f"/{LABELS[0]}")):
        correct, wrong, ambiguous = (tags.get(f"{scope}/{label}", "") for label in LABELS)
        if correct.isdigit() and wrong.isdigit() and ambiguous.isdigit():
            judge = tags.get(f"{scope}/judge", "")
            found[_unscoped(scope)] = Counts(int(correct), int(wrong), int(ambiguous), judge)
    return found
