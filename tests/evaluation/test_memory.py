"""What systems said stays said: on disk, in lines that are only ever added, whatever a killed process left behind."""

from pathlib import Path

import pytest

from wikillama.evaluation.memory import Memory, key_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers" / "some.jsonl"


def test_it_reads_back_what_it_was_given(path: Path) -> None:
    said = {"text": 'Ça va,\u2028"Zoë"\n\x85 \U0001f697', "tokens": 3, "seconds": 0.25}
    memory = Memory(path)
    assert memory.get("a") is None
    memory.put([("a", said), ("b", {"nll": 1.5})])
    for known in (memory, Memory(path)):
        assert (known.get("a"), known.get("b"), known.get("c")) == (said, {"nll": 1.5}, None)
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("left", [b'{"key": "lost", "text": "Zo', '{"key": "lost", "text": "Zoë'.encode()[:-1]])
def test_a_line_cut_short_is_left_alone(path: Path, left: bytes) -> None:
    Memory(path).put([("a", {"n": 1})])
    with path.open("ab") as file:
        file.write(left)
    memory = Memory(path)
    assert (memory.get("a"), memory.get("lost")) == ({"n": 1}, None)
    memory.put([("b", {"n": 2})])
    memory.put([("c", {"n": 3})])
    again = Memory(path)
    assert [again.get(key) for key in ("a", "lost", "b", "c")] == [{"n": 1}, None, {"n": 2}, {"n": 3}]
    assert path.read_bytes().splitlines()[1:3] == [left, b'{"key": "b", "n": 2}']


def test_a_whole_last_line_without_its_end_is_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"key": "a", "n": 1}')
    memory = Memory(path)
    memory.put([("b", {"n": 2})])
    assert path.read_bytes() == b'{"key": "a", "n": 1}\n{"key": "b", "n": 2}\n'
    assert Memory(path).get("a") == {"n": 1}


@pytest.mark.parametrize("odd", ["3", "[1]", '{"n": 1}', "null", ""])
def test_lines_that_are_no_record_are_passed_over(path: Path, odd: str) -> None:
    path.parent.mkdir()
    path.write_text(f'{odd}\n{{"key": "a", "n": 1}}\n', encoding="utf-8")
    assert Memory(path).get("a") == {"n": 1}


def test_the_file_only_grows_and_the_last_record_counts(path: Path) -> None:
    one, other = Memory(path), Memory(path)
    before = b""
    for place, memory in enumerate((one, other, one)):
        memory.put([("a", {"n": place}), (f"own {place}", {"n": place})])
        now = path.read_bytes()
        assert now.startswith(before)
        assert len(now.splitlines()) == len(before.splitlines()) + 2
        before = now
    again = Memory(path)
    assert again.get("a") == {"n": 2}
    assert [again.get(f"own {place}") for place in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_key_is_of_all_its_parts() -> None:
    asked = ("greedy", [1, 2], 8, 2)
    others = [("nll", [1, 2], 8, 2), ("greedy", [2, 1], 8, 2), ("greedy", [1, 2], 9, 2), ("greedy", [1, 2], 8, 3)]
    assert key_of(*asked) == key_of(*asked)
    assert len({key_of(*parts) for parts in (asked, *others)}) == 5
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
