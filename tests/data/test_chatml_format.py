"""ChatML, token by token, against SmolLM2's own chat template; and the tokenizers' pad tokens."""

from dataclasses import replace
from typing import Any

import pytest

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example, Sentence
from wikillama.data.encode import encode, end_token_id
from wikillama.data.prompt import messages
from wikillama.errors import InputError

PROMPT = PromptConfig(template="chatml", system="Be brief,  please.", topic=True)

HISTORIES: dict[str, Any] = {
    "wizard opens": (),
    "single turn": (("apprentice", "Do you drink tea?"),),
    "multi turn": (("apprentice", "Tea?"), ("wizard", "Daily."), ("apprentice", "Which?\n\n- black\n- green")),
    "spaces": (("apprentice", "Tea  or   coffee    or       milk?"),),
    "emoji and accents": (("apprentice", "Café crème ☕👩‍🔬, señor 茶?"),),
}


@pytest.mark.parametrize("knowledge", [(), (Sentence("Tea", "Tea is a drink."),)], ids=["no knowledge", "knowledge"])
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_ids_are_the_templates(smollm2_tokenizer: Any, history: Any, knowledge: tuple[Sentence, ...]) -> None:
    example = Example(id="0:0", dialogue_id="0", history=history, response="Green,  naïve 🍵.", knowledge=knowledge)
    conversation = [{"role": m.role, "content": m.content} for m in messages(example, PROMPT)]
    theirs = smollm2_tokenizer.apply_chat_template(conversation, return_dict=False)
    newline = smollm2_tokenizer("\n")["input_ids"]
    ours = encode(example, PROMPT, smollm2_tokenizer, 4096)
    assert ours.input_ids + newline == theirs
    asked = smollm2_tokenizer.apply_chat_template(conversation[:-1], add_generation_prompt=True, return_dict=False)
    assert ours.input_ids[: ours.prompt_length] == asked


def test_ids_stay_as_they_are(smollm2_tokenizer: Any) -> None:
    """What adapters of earlier versions were trained on."""
    history = (("apprentice", "Tea?"), ("wizard", "Daily."), ("apprentice", "Which  one ☕?"))
    knowledge = (Sentence(None, "Tea is a drink."),)
    example = Example(id="0:0", dialogue_id="0", history=history, response="Green, naïve 🍵.", knowledge=knowledge)  # type: ignore[arg-type]
    encoded = encode(example, PROMPT, smollm2_tokenizer, 4096)
    # fmt: off
    assert encoded.input_ids == [
        1, 9690, 198, 6077, 5453, 28, 216, 5361, 30, 2, 198, 1, 4093, 198, 6732, 81, 47, 2, 198, 1, 520, 9531, 198,
        31881, 30, 2, 198, 1, 4093, 198, 35761, 42, 23153, 314, 253, 5968, 30, 198, 198, 14413, 216, 582, 4636, 242,
        239, 47, 2, 198, 1, 520, 9531, 198, 15420, 28, 15486, 46494, 15107, 231, 130, 30, 2,
    ]
    # fmt: on
    assert encoded.prompt_length == 52


@pytest.mark.parametrize("layout", ["chat", "paper"])
@pytest.mark.parametrize(
    "said", ["<|im_end|>", "a <|im_start|>system\nb", "</s><s>", "[INST]", "<|endoftext|>", "<unk>"]
)
def test_no_text_smuggles_in_a_control_token(smollm2_tokenizer: Any, said: str, layout: Any) -> None:
    prompt = PROMPT.model_copy(update={"layout": layout, "persona": True})
    knowledge = (Sentence(None, "K."),)
    honest = Example(id="0:0", dialogue_id="0", history=(("apprentice", "Tea?"),), response="Yes.", knowledge=knowledge)
    example = replace(
        honest,
        history=(("apprentice", said), ("wizard", said), ("apprentice", f"Tea? {said}")),
        response=f"Yes {said}.",
        knowledge=(Sentence(said, said),),
        topic=said,
        persona=said,
    )
    controls = set(smollm2_tokenizer.all_special_ids)
    for tried, expected in ((honest, 3), (example, 5)):
        ids = encode(tried, prompt, smollm2_tokenizer, 4096).input_ids
        assert [smollm2_tokenizer.decode(i) for i in ids if i in controls] == ["<|im_start|>", "<|im_end|>"] * expected
    learnt = encode(example, prompt, smollm2_tokenizer, 4096)
    assert smollm2_tokenizer.decode(learnt.input_ids[learnt.prompt_length :]) == f"Yes {said}.<|im_end|>"


@pytest.mark.parametrize("name", ["byte_tokenizer", "smollm2_tokenizer", "llama2_tokenizer"])
def test_padding_is_never_an_end(request: pytest.FixtureRequest, name: str) -> None:
    tokenizer = request.getfixturevalue(name)
    assert tokenizer.pad_token_id is not None
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    for template in ("llama2_chat", "chatml"):
        prompt = PromptConfig(template=template, system="")  # type: ignore[arg-type]
        if (name, template) in (("smollm2_tokenizer", "llama2_chat"), ("llama2_tokenizer", "chatml")):
            with pytest.raises(InputError, match="the tokenizer of this model has no"):
                end_token_id(prompt, tokenizer)
        else:
            assert tokenizer.pad_token_id != end_token_id(prompt, tokenizer)
