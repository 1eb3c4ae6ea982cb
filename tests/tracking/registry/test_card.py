"""Model cards: what they say, what the Hub reads of them, and that they fit the database."""

from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub import ModelCard

from wikillama.evaluation.resampling import Estimate
from wikillama.tracking.registry.card import LONGEST, folder_card, front_matter, licence_of, registry_card
from wikillama.tracking.registry.tags import count_tags, metric_tags

TAGS = {
    "source": "train", "size_mb": "60.0", "quantization": "nf4 double", "data_fingerprint": "d" * 64,
    "git_commit": f"{'c' * 40} dirty",
}  # fmt: skip
PARAMS = {"data.name": "wow", "data.limit_train": "None", "optim.name": "adamw", "optim.lr": "0.0002", "seed": "7"}
SCORES = metric_tags(
    "wow_seen", "gold", {"f1": Estimate(0.1913, 0.1871, 0.1955, 4356), "ppl": Estimate(9.5, 9.2, 9.8, 4356)}
) | count_tags("qa200", "none", (120, 70, 10), "lexical-1")


def test_it_says_what_one_must_know(recipe: Callable[..., Any]) -> None:
    card = registry_card("wiki-llama", "3", TAGS | SCORES, PARAMS, recipe("model=llama2_7b", "peft=qlora"))
    for said in (
        "| Base | meta-llama/Llama-2-7b-hf, weights bbbbbbbbbbbbbbbb |",
        "| Licence of the base | Llama 2 Community License |",
        "nf4, double quantization; computes in float32",
        "qlora, rank 12, alpha 24, on all-linear; 60.0 MB of safetensors",
        "| Data | wow; fingerprint dddddddddddddddd |",
        "llama2_chat, layout chat: You are a friendly expert.",
        "optimizer adamw, lr 0.0002, seed 7",
        f"| Code | commit {'c' * 40}, with changes that are not committed |",
        "| wow_seen | gold | F1 | 0.191 [0.187, 0.196] | 4,356 turns |",
        "| wow_seen | gold | perplexity | 9.50 [9.20, 9.80] | 4,356 turns |",
        "| qa200 | none | correct, wrong, ambiguous by lexical-1 | 120 / 70 / 10 | 200 questions |",
        'load_adapter("models:/wiki-llama/3")',
        'mlflow.pyfunc.load_model("models:/wiki-llama/3")',
        "python evaluate.py systems='[base,models:/wiki-llama/3]' suite=qa200",
        "Copyright (c) Meta Platforms",
    ):
        assert said in card, said
    assert "andom weights" not in card
    assert card.startswith("A LoRA adapter that tunes meta-llama/Llama-2-7b-hf")


def test_random_weights_are_said_plainly(recipe: Callable[..., Any]) -> None:
    assert "**Random weights: figures of speed and memory only." in registry_card(
        "tiny", "1", TAGS, PARAMS, recipe("model=tiny")
    )


def test_an_imported_version_claims_nothing(recipe: Callable[..., Any]) -> None:
    card = registry_card("x", "1", {"source": "import"}, PARAMS, recipe("model=tiny"))
    assert "| Training | not recorded: imported |" in card
    assert "| Data | not recorded: imported |" in card
    assert "Not evaluated yet." in card
    assert "adamw" not in card


def test_it_fits_the_database(recipe: Callable[..., Any]) -> None:
    wordy = recipe("model=llama2_7b", f"prompt.system='{'Speak | plainly. ' * 2000}'")
    many = {k: v for n in range(80) for k, v in metric_tags(f"suite{n}", "gold", {"f1": Estimate(1, 0, 1, 5)}).items()}
    card = registry_card("wiki-llama", "1", TAGS, PARAMS, wordy)
    assert len(card) < LONGEST
    assert "Speak \\| plainly." in card  # a bar would end the cell
    assert len(registry_card("wiki-llama", "1", TAGS | many, PARAMS, wordy)) == LONGEST


@pytest.mark.parametrize(
    ("model", "base", "licence"),
    [
        ("llama2_7b", "meta-llama/Llama-2-7b-hf", "llama2"),
        ("llama2_13b", "meta-llama/Llama-2-13b-hf", "llama2"),
        ("smollm2_135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
        ("tiny", None, "other"),
    ],
)
def test_the_hub_reads_base_and_licence(recipe: Callable[..., Any], model: str, base: str | None, licence: str) -> None:
    made = recipe(f"model={model}")
    text = folder_card("wiki-llama, version 3", front_matter(made, "peft", "adapter"), "", TAGS, PARAMS, made)
    card = ModelCard(text)
    assert card.data.base_model == base
    assert (card.data.library_name, card.data.license) == ("peft", licence)
    assert "lora" in card.data.tags
    assert card.text.lstrip().startswith("# wiki-llama, version 3")
    known = licence_of(made)
    assert (known.id if known else "other") == licence


def test_a_merged_model_is_none_of_peft(recipe: Callable[..., Any]) -> None:
    made = recipe("model=llama2_7b")
    front = front_matter(made, "transformers", "merge")
    assert (front["base_model_relation"], front["library_name"]) == ("merge", "transformers")
    assert "lora" not in front["tags"]
    assert "merged into it" in folder_card("x", front, "", TAGS, PARAMS, made, merged=True)
