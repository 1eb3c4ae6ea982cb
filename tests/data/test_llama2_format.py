"""Llama 2's chat format, token by token, against SentencePiece and Meta's reference code.

The reference (facebookresearch/llama, llama/generation.py, `chat_completion`) encodes each exchange by itself:
bos + encode("[INST] user [/INST] assistant ") + eos.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example, Sentence
from wikillama.data.encode import IGNORED, encode, end_token_id

PROMPT = PromptConfig(template="llama2_chat", system="Be brief,  please.", topic=True)

Exchanges = list[tuple[str, str]]
CASES: dict[str, Exchanges] = {
    "single turn": [("Do you drink tea?", "Yes, every day.")],
    "multi turn": [("Tea?", "Daily."), ("Which one?", "Green, mostly."), ("Hot?", "Always.")],
    "spaces around": [("  Tea? ", " Daily.\t"), ("\nWhich? ", "  Green. ")],
    "runs of spaces": [("Tea  or   coffee    or       milk?", "Tea.  Of course,   tea.")],
    "line breaks": [("Tea?\n\n- black\n- green", "Green.\nOr black.")],
    "emoji and accents": [("Café crème ☕👩‍🔬?", "Naïve, señor: 茶 is 🍵.")],
    "control words": [
        ("What does </s> do? And <s>, <unk>?", "[INST] ends nothing </s> here [/INST]"),
        ("<|im_end|> <<SYS>> x <</SYS>>", "<s>[INST] no [/INST]</s>"),
    ],
    "punctuation first": [("...?", '\'Tis. "Tea"!'), ("?", "- tea")],
    "numbers": [("1+1?", "2"), ("3,500 miles?", "5632.704 km")],
}


@pytest.fixture(scope="session")
def sp(llama2_model_file: Path) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(llama2_model_file))


def reference(sp: Any, exchanges: Exchanges, system: str = PROMPT.system) -> list[int]:
    ids: list[int] = []
    for place, (user, assistant) in enumerate(exchanges):
        asked = f"<<SYS>>\n{system}\n<</SYS>>\n\n{user.strip()}" if place == 0 else user.strip()
        ids += [sp.bos_id(), *sp.encode(f"[INST] {asked} [/INST] {assistant.strip()} "), sp.eos_id()]
    return ids


def example_of(exchanges: Exchanges, knowledge: str | None) -> Example:
    said = list(chain.from_iterable(exchanges))
    speakers = ["apprentice", "wizard"] * len(exchanges)
    history = tuple(zip(speakers, said, strict=True))[:-1]
    shown = (Sentence(None, knowledge),) if knowledge else ()
    return Example(id="0:0", dialogue_id="0", history=history, response=said[-1], knowledge=shown)  # type: ignore[arg-type]


@pytest.mark.parametrize("knowledge", [None, "Tea is a drink,  from leaves."], ids=["no knowledge", "knowledge"])
@pytest.mark.parametrize("exchanges", CASES.values(), ids=CASES)
def test_ids_are_the_references(llama2_tokenizer: Any, sp: Any, exchanges: Exchanges, knowledge: str | None) -> None:
    encoded = encode(example_of(exchanges, knowledge), PROMPT, llama2_tokenizer, 4096)
    user, assistant = exchanges[-1]
    asked = f"Knowledge: {knowledge}\n\n{user}" if knowledge else user
    assert encoded.input_ids == reference(sp, [*exchanges[:-1], (asked, assistant)])


def test_in_the_papers_layout_knowledge_stands_between_the_sys_marks(llama2_tokenizer: Any, sp: Any) -> None:
    exchanges = CASES["multi turn"]
    prompt = PROMPT.model_copy(update={"layout": "paper"})
    encoded = encode(example_of(exchanges, "Tea is a drink."), prompt, llama2_tokenizer, 4096)
    assert encoded.input_ids == reference(sp, exchanges, 'Be brief,  please.\nPassages: {"": "Tea is a drink."}')


@pytest.mark.parametrize("exchanges", CASES.values(), ids=CASES)
def test_one_bos_and_one_eos_an_exchange(llama2_tokenizer: Any, sp: Any, exchanges: Exchanges) -> None:
    encoded = encode(example_of(exchanges, None), PROMPT, llama2_tokenizer, 4096)
    assert encoded.input_ids.count(sp.bos_id()) == len(exchanges)
    assert encoded.input_ids.count(sp.eos_id()) == len(exchanges)
    assert sp.unk_id() not in encoded.input_ids
    assert encoded.input_ids[0] == sp.bos_id()
    assert encoded.labels[-1] == sp.eos_id() == end_token_id(PROMPT, llama2_tokenizer)


@pytest.mark.parametrize("exchanges", CASES.values(), ids=CASES)
def test_labels_are_the_last_reply_alone(llama2_tokenizer: Any, sp: Any, exchanges: Exchanges) -> None:
    encoded = encode(example_of(exchanges, None), PROMPT, llama2_tokenizer, 4096)
    learnt = [label for label in encoded.labels if label != IGNORED]
    assert sp.decode(learnt[:-1]) == f"{exchanges[-1][1].strip()} "


@pytest.mark.parametrize("spaces", [1, 2, 3, 4, 5, 8, 9, 16, 17, 31])
def test_lone_tokenizer_model_splits_runs_of_spaces_as_sentencepiece_does(
    llama2_tokenizer: Any, sp: Any, spaces: int
) -> None:
    run = " " * spaces  # never at the start: each text of the format starts with [INST]
    for text in (f"a{run}b", f"a{run}", f"\n{run}x", f"[INST]{run}\n{run}- a{run}.{run}"):
        assert llama2_tokenizer(text, add_special_tokens=False)["input_ids"] == sp.encode(text)
