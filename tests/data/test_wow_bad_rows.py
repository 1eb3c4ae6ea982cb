"""Dialogues and files of the original layout that cannot be used: which one, why, and what is read around them."""

import io

import pytest

from wikillama.config.paths import ROOT
from wikillama.data.dialogue import BadRow, Dialogue, OnBadRow, refuse
from wikillama.data.wow import SPLIT_FILES, read_wow
from wikillama.errors import InputError

VALID = ROOT / "data" / "wow_mini" / SPLIT_FILES["valid_seen"]
GOOD = (
    b'{"chosen_topic": "Tea", "dialog": [{"speaker": "0_Apprentice", "text": "Tea?"},'
    b' {"speaker": "1_Wizard", "text": "Daily."}]}'
)


def read(content: bytes, on_bad_row: OnBadRow = refuse) -> list[Dialogue]:
    return list(read_wow(io.BytesIO(content), "talks", "talks.json", on_bad_row))


TURN = b'{"speaker": "0_Wizard", "text": "Hello."}'
BAD: dict[bytes, str] = {
    b'{"chosen_topic": "Tea", "dialog": [{"speaker" "text"}]}': "broken JSON",
    b'{"chosen_topic": "Tea", "dialog": [{"speaker": "0_Wizard", "te': "broken JSON",
    b'{"chosen_topic": "Tea", "dialog": [' + TURN: "broken JSON",
    b'{"chosen_topic": "Tea", "dialog": [{"speaker": "0_Wizard", "text": "caf\xe9"}]}': "not UTF-8",
    b'{"chosen_topic": "Tea", "dialog": [{"speaker": "0_Wizard", "text": "\\ud800"}]}': "surrogate",
    b'{"persona": "caf\xe9", "dialog": [' + TURN + b"]}": "not UTF-8",
    b'{"chosen_topic": "Tea"}': "no 'dialog' list",
    b'{"persona": "Tea"}': "no 'dialog' list",
    b"7": "no 'dialog' list",
    b"null": "no 'dialog' list",
    b"[" + TURN + b"]": "no 'dialog' list",
    b'{"chosen_topic": "Tea", "dialog": {}}': "no 'dialog' list",
    b'{"chosen_topic": "Tea", "dialog": []}': "the dialogue has no turns",
    b'{"chosen_topic": 5, "dialog": [' + TURN + b"]}": "'chosen_topic' or 'persona' is not text",
    b'{"persona": ["Tea"], "dialog": [' + TURN + b"]}": "'chosen_topic' or 'persona' is not text",
    b'{"chosen_topic_passage": "Tea", "dialog": [' + TURN + b"]}": "'chosen_topic_passage' is not a list of sentences",
    b'{"dialog": [' + TURN + b', {"speaker": "0_Wizard"}]}': "turn 2: 'text' or 'speaker'",
    b'{"dialog": [{"speaker": "0_Wizard", "text": 5}]}': "turn 1: 'text' or 'speaker'",
    b'{"dialog": [{"speaker": "0_Wizard", "text": " "}]}': "turn 1: the text is empty",
    b'{"dialog": [{"text": "Hello."}]}': "turn 1: 'text' or 'speaker'",
    b'{"dialog": ["Hello."]}': "turn 1: 'text' or 'speaker'",
    b'{"dialog": [{"speaker": "0_Warlock", "text": "Hello."}]}': "turn 1: the speaker '0_Warlock' is neither",
    b'{"dialog": ['
    + TURN[:-1]
    + b', "retrieved_passages": {"Tea": []}}]}': "turn 1: 'retrieved_passages' is not a list",
    b'{"dialog": [' + TURN[:-1] + b', "retrieved_passages": [{"Tea": "x"}]}]}': "turn 1: 'retrieved_passages' is not",
}


@pytest.mark.parametrize(("bad", "reason"), BAD.items(), ids=lambda value: repr(value)[:60])
def test_a_bad_row_is_put_aside_and_the_good_ones_around_it_are_read(bad: bytes, reason: str) -> None:
    aside: list[BadRow] = []
    content = b"[" + b", ".join([GOOD, bad, GOOD, bad, bad, GOOD]) + b"]"
    found = read(content, aside.append)
    numbers = [int(dialogue.id.removeprefix("talks:")) for dialogue in found]
    assert [[turn.text for turn in dialogue.turns] for dialogue in found] == [["Tea?", "Daily."]] * 3
    assert numbers == [0, 2, 5]
    assert [row.raw for row in aside] == [bad] * 3
    assert [row.where for row in aside] == [f"talks.json: dialogue {number}" for number in (2, 4, 5)]
    assert all(reason in row.reason for row in aside)
    with pytest.raises(InputError) as caught:
        read(content)
    message = str(caught.value)
    assert message.startswith("talks.json: dialogue 2: ")
    assert reason in message
    assert "\n" not in message


HOPELESS = {
    b"": "the file is empty",
    b" \n ": "the file is empty",
    b'{"dialog": []}': "not a JSON list of dialogues (starts with",
    b"chosen_topic,persona": "not a JSON list of dialogues (starts with",
    b"[": "cut off in the first",
    b"[7]": "not a JSON list of dialogues",
    b'[{"dialog": [{"speaker": "0_Wizard", "te': "broken or truncated JSON after 0 dialogues",
    b'[{"dialog": [{"speaker": "0_Wizard", "tags": ["x"]': "broken or truncated JSON after 0 dialogues",
    b'[{"dialog": [' + TURN + b"]}": "broken or truncated JSON after 0 dialogues",
}


@pytest.mark.parametrize(("content", "reason"), HOPELESS.items(), ids=lambda value: repr(value)[:40])
def test_a_bad_file_is_refused_in_one_line_whatever_is_done_with_bad_rows(content: bytes, reason: str) -> None:
    for on_bad_row in (refuse, lambda row: None):
        with pytest.raises(InputError) as caught:
            read(content, on_bad_row)
        message = str(caught.value)
        assert message.startswith("talks.json: ")
        assert reason in message
        assert "\n" not in message


def test_an_empty_list_has_no_dialogues() -> None:
    assert read(b" [\n ] ") == []


def test_a_truncated_download_says_how_far_it_was_good() -> None:
    content = VALID.read_bytes()
    good: list[Dialogue] = []
    with pytest.raises(InputError) as caught:
        good.extend(read_wow(io.BytesIO(content[: len(content) // 2]), "half", "half.json"))
    assert 1 < len(good) < len(read(content))
    assert str(caught.value).startswith(f"half.json: broken or truncated JSON after {len(good)} dialogues")
