"""The cache of encoded splits: what makes an entry another one, and that none is ever half done."""

import hashlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import PrepareConfig
from wikillama.data.corpus import evenly, load_examples
from wikillama.data.encode import encode_all
from wikillama.data.hashing import remembered_sha256
from wikillama.data.prepared import STAGES, EncodedExamples, Prepared, TokenizerSource, prepare
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
BASE = ["model=tiny", "data=wow_mini", "data.max_length=512"]
Prepare = Callable[..., Prepared]

# a process of its own, which waits for a line before it prepares
JOB = """
import sys
from wikillama.config.schema import PrepareConfig
from wikillama.data.prepared import TokenizerSource, prepare
from wikillama.model.tokenizer import byte_tokenizer
cfg, tokenizer = PrepareConfig.model_validate_json(sys.argv[1]), byte_tokenizer()
print("ready", flush=True)
sys.stdin.readline()
source = TokenizerSource("bytes", lambda: tokenizer)
found = prepare(cfg.data, cfg.knowledge, cfg.prompt, "train", source, cfg.cache_dir)
print(found.was_there, found.facts.fingerprint, found.facts.encoded_sha256)
"""


def never() -> NoReturn:
    raise AssertionError("the tokenizer is not needed")


@pytest.fixture
def make(compose: Callable[..., Any], byte_source: TokenizerSource, tmp_path: Path) -> Prepare:
    """`make("prompt=paper", ..., split="train")`: the entry of a split of the shipped dialogues, in a new cache."""

    def prepare_one(
        *overrides: str, split: Any = "valid_seen", tokenizer: TokenizerSource = byte_source, **more: Any
    ) -> Prepared:
        cfg = compose(*BASE, *overrides, name="prepare")
        cache = more.pop("cache", str(tmp_path / "cache"))
        return prepare(cfg.data, cfg.knowledge, cfg.prompt, split, tokenizer, cache, cfg.seed, **more)

    return prepare_one


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "prepared").iterdir())


def test_an_entry_holds_what_the_encoder_makes(make: Prepare, compose: Callable[..., Any], byte_tokenizer: Any) -> None:
    entry = make()
    cfg = compose(*BASE, name="prepare")
    examples = load_examples(cfg.data, cfg.knowledge, "valid_seen")
    encoded = encode_all(examples, cfg.prompt, byte_tokenizer, 512)
    table = entry.table().to_pydict()
    assert table["id"] == [example.id for example in examples]
    assert table["input_ids"] == [e.input_ids for e in encoded]
    assert table["prompt_length"] == [e.prompt_length for e in encoded]
    assert table["length"] == entry.lengths() == [len(e.input_ids) for e in encoded]
    assert table["cut"] == [e.cut for e in encoded]
    assert {"nothing", "history"} < set(table["cut"])
    assert sorted(path.name for path in entry.folder.iterdir()) == ["examples.arrow", "facts.json", "quarantine.jsonl"]
    assert entry.quarantine.read_bytes() == b""


def test_facts(make: Prepare) -> None:
    entry = make()
    raw = json.loads((MINI / "valid_random_split.json").read_text(encoding="utf-8"))
    wizards = [turn for d in raw for turn in d["dialog"] if turn["speaker"].endswith("Wizard")]
    cut = entry.table()["cut"].to_pylist()
    facts = entry.facts
    assert (facts.split, facts.dialogues, facts.turns) == ("valid_seen", len(raw), sum(len(d["dialog"]) for d in raw))
    assert facts.topics == sorted({d["chosen_topic"] for d in raw})
    assert facts.replies == len(wizards) == len(cut)
    assert facts.without_knowledge == sum("no_passages_used" in turn["checked_sentence"] for turn in wizards) > 0
    assert facts.tokens == sum(entry.lengths())
    assert (facts.cut_history, facts.cut_prompt) == (cut.count("history"), cut.count("prompt"))
    assert (facts.bad_rows, facts.bad_row) == (0, "")
    assert facts.seconds > 0


def test_a_second_call_finds_it_and_needs_no_tokenizer(make: Prepare) -> None:
    first = make()
    made = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    second = make(tokenizer=TokenizerSource("bytes", never), advance=lambda stage, done, total: never())
    assert (first.was_there, second.was_there) == (False, True)
    assert (second.folder, second.facts) == (first.folder, first.facts)
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == made
    assert second.table().equals(first.table())


def test_progress_names_the_four_stages(make: Prepare) -> None:
    said: dict[str, tuple[int, int | None]] = {}
    entry = make(advance=lambda stage, done, total: said.update({stage: (done, total)}))
    size = (MINI / "valid_random_split.json").stat().st_size
    replies = (entry.facts.replies, None)
    expected = [(size, size), replies, replies, (entry.facts.tokens, None)]
    assert said == dict(zip(STAGES, expected, strict=True))


OTHER = {
    "template": ["prompt=llama2_chat"],
    "layout": ["prompt.layout=paper"],
    "system prompt": ["prompt.system=Be long."],
    "topic": ["prompt.topic=false"],
    "persona": ["prompt.persona=true"],
    "max_length": ["data.max_length=511"],
    "turns": ["data.turns=parlai"],
    "no knowledge": ["knowledge=none"],
    "shuffled": ["knowledge=shuffled"],
    "retrieved": ["knowledge=retrieved"],
    "retrieved k": ["knowledge=retrieved", "knowledge.k=3"],
    "mixed": ["knowledge=mixed", "knowledge.held_out=null"],
    "mixed seed": ["knowledge=mixed", "knowledge.held_out=null", "seed=1"],
    "mixed distractors": ["knowledge=mixed", "knowledge.held_out=null", "knowledge.distractors=2"],
    "mixed dropout": ["knowledge=mixed", "knowledge.held_out=null", "knowledge.dropout=0.9"],
}
SAME = {
    "limits": ["data.limit_train=3", "data.limit_valid=3", "data.limit_test=3"],
    "seed": ["seed=1"],
    "packing": ["packing=bestfit"],
    "held-out mode of a split that has it already": ["+knowledge.held_out=gold"],
}


def test_each_choice_that_decides_on_the_contents_has_an_entry_of_its_own(make: Prepare) -> None:
    base = make()
    entries = {name: make(*overrides) for name, overrides in OTHER.items()}
    assert len({entry.folder for entry in (base, *entries.values())}) == 1 + len(OTHER)
    for name, entry in entries.items():  # and each is another indeed
        assert not entry.was_there
        assert entry.facts.encoded_sha256 != base.facts.encoded_sha256, name
    assert entries["mixed"].facts.fingerprint != entries["mixed seed"].facts.fingerprint


@pytest.mark.parametrize("overrides", SAME.values(), ids=SAME)
def test_what_does_not_decide_on_the_contents_finds_the_entry(make: Prepare, overrides: list[str]) -> None:
    made = make()
    found = make(*overrides)
    assert found.was_there
    assert found.folder == made.folder


def test_split_and_tokenizer_have_entries_of_their_own(make: Prepare, byte_tokenizer: Any, tmp_path: Path) -> None:
    shutil.copytree(MINI, tmp_path / "corpus")
    shutil.copy(MINI / "valid_random_split.json", tmp_path / "corpus" / "test_random_split.json")  # the same bytes
    path = f"data.path={tmp_path / 'corpus'}"
    valid, test = make(path), make(path, split="test_seen")
    other = make(path, tokenizer=TokenizerSource("others", lambda: byte_tokenizer))
    assert len({entry.folder.name.rsplit("-", 1)[1] for entry in (valid, test, other)}) == 3
    assert valid.facts.fingerprint == test.facts.fingerprint == other.facts.fingerprint


def test_the_bytes_of_the_corpus_count_and_not_its_place(make: Prepare, tmp_path: Path) -> None:
    made = make()
    for place in ("here", "there"):
        shutil.copytree(MINI, tmp_path / place)
        assert make(f"data.path={tmp_path / place}").was_there
    (tmp_path / "there" / "train.json").write_text("[]")  # valid does not come from there
    assert make(f"data.path={tmp_path / 'there'}").was_there
    file = tmp_path / "there" / "valid_random_split.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("the", "teh", 1), encoding="utf-8")  # as long as before
    changed = make(f"data.path={tmp_path / 'there'}")
    assert not changed.was_there
    assert changed.folder != made.folder


def test_a_split_that_is_held_out_depends_on_the_files_of_all_splits(
    compose: Callable[..., Any], byte_source: TokenizerSource, tmp_path: Path
) -> None:
    train, valid = tmp_path / "train.jsonl", tmp_path / "valid.jsonl"
    write_rows(train, rows(40))
    write_rows(valid, rows(3))

    def folders(*overrides: str) -> list[Path]:
        cfg = compose("model=tiny", "data=jsonl", f"data.train={train}", *overrides, name="prepare")
        splits: tuple[Any, ...] = ("train", "test_seen")
        cache = str(tmp_path / "cache")
        return [prepare(cfg.data, cfg.knowledge, cfg.prompt, s, byte_source, cache).folder for s in splits]

    alone = folders()
    train_key, test_key = (folder.name.rsplit("-", 1)[1] for folder in alone)
    assert train_key != test_key  # though both come from the same file
    assert not set(alone) & set(folders("data.holdout=0.2"))
    assert not set(alone) & set(folders(f"data.valid={valid}"))  # less is then held out of train
    assert not set(alone) & set(folders("data.fields.persona_first=false"))
    assert alone == folders("data.limit_train=2")


def test_the_fingerprint_is_of_the_data_whatever_the_tokenizer(make: Prepare, smollm2_tokenizer: Any) -> None:
    source = TokenizerSource("smollm2", lambda: smollm2_tokenizer)
    ours, theirs = make(), make(tokenizer=source)
    assert ours.facts.fingerprint == theirs.facts.fingerprint == make("prompt=llama2_chat").facts.fingerprint
    assert ours.facts.encoded_sha256 != theirs.facts.encoded_sha256
    assert theirs.facts.tokens < ours.facts.tokens


def test_the_fingerprint_sees_knowledge_words_and_turns(make: Prepare, tmp_path: Path) -> None:
    shutil.copytree(MINI, tmp_path / "corpus")
    file = tmp_path / "corpus" / "valid_random_split.json"
    dialogues = json.loads(file.read_text(encoding="utf-8"))
    dialogues[3]["dialog"][1]["text"] += "!"
    file.write_text(json.dumps(dialogues))
    other = [["knowledge=none"], ["knowledge=retrieved"], ["data.turns=parlai"], [f"data.path={tmp_path / 'corpus'}"]]
    entries = [make(), *(make(*overrides) for overrides in other)]
    assert len({entry.facts.fingerprint for entry in entries}) == 5


@pytest.mark.parametrize("limit", [None, 1, 7, 10_000])
def test_examples_are_read_at_their_places(make: Prepare, limit: int | None) -> None:
    entry = make()
    table = entry.table().to_pydict()
    places = list(evenly(entry.facts.replies, limit))
    examples = EncodedExamples(entry, places)
    assert len(examples) == len(places) == min(limit or 10_000, entry.facts.replies)
    assert [examples[i].input_ids for i in range(len(examples))] == [table["input_ids"][p] for p in places]
    assert [examples[i].prompt_length for i in range(len(examples))] == [table["prompt_length"][p] for p in places]
    assert [e.cut for e in examples] == [table["cut"][p] for p in places]
    assert examples.lengths == [len(table["input_ids"][p]) for p in places]
    cut = [table["cut"][p] for p in places]
    assert examples.cuts() == {"history": cut.count("history"), "prompt": cut.count("prompt")}


def test_a_split_without_wizard_turns_is_refused(make: Prepare, tmp_path: Path) -> None:
    shutil.copytree(MINI, tmp_path / "corpus")
    (tmp_path / "corpus" / "valid_random_split.json").write_text(
        '[{"dialog": [{"speaker": "0_Apprentice", "text": "Hello?"}]}]'
    )
    with pytest.raises(InputError, match="split valid_seen has no Wizard turn"):
        make(f"data.path={tmp_path / 'corpus'}")
    assert [name for name in left_in(tmp_path / "cache") if not name.endswith(".lock")] == []


def rows(n: int) -> list[bytes]:
    """Rows of JSON lines, each a conversation of its own."""
    known = [
        {"Context": f"me EOS question {i}?", "Knowledge": f"Fact {i}.", "Response": f"Answer {i}."} for i in range(n)
    ]
    return [json.dumps(row).encode() for row in known]


def write_rows(path: Path, content: list[bytes]) -> None:
    path.write_bytes(b"\n".join(content) + b"\n")


BROKEN = {
    3: (b'{"Context": "a EOS caf\xff", "Knowledge": "k", "Resp', "broken or truncated JSON, or not UTF-8"),
    9: (b'{"Context": "a EOS b", "Response": "c"}', "no field 'Knowledge'"),
    20: (b'{"Context": "a EOS b", "Knowledge": "k", "Response": "  "}', "'Response' is empty or not text"),
}


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[Path, Path]:
    """A file with three broken rows among thirty, and the file without them; of the same name."""
    folders = tmp_path / "damaged", tmp_path / "whole"
    content = rows(30)
    for folder in folders:
        folder.mkdir()
    write_rows(folders[1] / "rows.jsonl", content)
    for place, (raw, _) in BROKEN.items():
        content.insert(place, raw)
    write_rows(folders[0] / "rows.jsonl", content)
    return folders[0] / "rows.jsonl", folders[1] / "rows.jsonl"


def of_rows(file: Path, *overrides: str) -> list[str]:
    return ["data=jsonl", *(f"data.{split}={file}" for split in ("train", "valid", "test")), *overrides]


def test_bad_rows_are_put_aside(make: Prepare, damaged: tuple[Path, Path]) -> None:
    entry, whole = make(*of_rows(damaged[0], "data.on_bad_row=skip")), make(*of_rows(damaged[1]))
    assert entry.facts.bad_rows == 3
    assert entry.facts.bad_row.startswith(f"{damaged[0]}: line 4: broken or truncated JSON")
    aside = [json.loads(line) for line in entry.quarantine.read_text(encoding="utf-8").splitlines()]
    assert [row["where"] for row in aside] == [f"{damaged[0]}: line {place + 1}" for place in BROKEN]
    for row, (raw, reason) in zip(aside, BROKEN.values(), strict=True):
        assert reason in row["reason"]
        assert row["raw"].rstrip("\n") == raw.decode(errors="backslashreplace")
    assert "caf\\xff" in aside[0]["raw"]
    assert entry.facts.replies == whole.facts.replies == 30
    assert entry.facts.fingerprint == whole.facts.fingerprint
    assert entry.facts.encoded_sha256 == whole.facts.encoded_sha256
    assert entry.folder != whole.folder


def test_bad_dialogues_are_put_aside(make: Prepare, tmp_path: Path) -> None:
    """Dialogues behind a bad one keep their number, so that ids differ from those of a file without it.

    What a model sees is the same, but in mixed mode, which draws distractors by id.
    """
    shutil.copytree(MINI, tmp_path / "corpus")
    file = tmp_path / "corpus" / "valid_random_split.json"
    dialogues = json.loads(file.read_text(encoding="utf-8"))
    assert next(iter(dialogues[0])) == "chosen_topic"
    broken = json.dumps(dialogues[0])[:-200] + "}"
    no_turns, no_text = dict(dialogues[1], dialog=[]), json.loads(json.dumps(dialogues[2]))
    no_text["dialog"][2]["text"] = 7
    texts = [json.dumps(d) for d in dialogues]
    texts[2:2] = [broken, json.dumps(no_turns), json.dumps(no_text)]
    file.write_text("[" + ", ".join(texts) + "]", encoding="utf-8")
    entry, whole = make(f"data.path={tmp_path / 'corpus'}", "data.on_bad_row=skip"), make()
    assert entry.facts.bad_rows == 3
    aside = [json.loads(line) for line in entry.quarantine.read_text(encoding="utf-8").splitlines()]
    assert [row["where"] for row in aside] == [f"{file}: dialogue {number}" for number in (3, 4, 5)]
    assert [row["raw"] for row in aside] == texts[2:5]
    for row, reason in zip(aside, ("broken JSON", "no turns", "turn 3: 'text'"), strict=True):
        assert reason in row["reason"]
    assert entry.facts.fingerprint == whole.facts.fingerprint
    assert entry.facts.encoded_sha256 == whole.facts.encoded_sha256
    assert entry.table()["id"].to_pylist()[-1] != whole.table()["id"].to_pylist()[-1]


def test_a_bad_row_stops_it_unless_told_otherwise(make: Prepare, damaged: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rows\.jsonl: line 4: broken or truncated JSON") as caught:
        make(*of_rows(damaged[0]))
    assert "data.on_bad_row=skip" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [name for name in left_in(tmp_path / "cache") if not name.endswith(".lock")] == []


def test_a_cache_that_cannot_be_written_is_one_line(make: Prepare, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cache_dir=.*/file: cannot be written \(.*give another"):
        make(cache=str(tmp_path / "file"))


def test_a_full_disk_leaves_no_half_written_hash(tmp_path: Path) -> None:
    file = tmp_path / "corpus.json"
    file.write_text("[]")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        found = remembered_sha256(file, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found == hashlib.sha256(b"[]").hexdigest()
    assert list((tmp_path / "hashes").iterdir()) == []
    assert remembered_sha256(file, tmp_path) == found
    assert len(list((tmp_path / "hashes").iterdir())) == 1


@pytest.fixture(scope="module")
def big(compose: Callable[..., Any], wow_sized: Any, tmp_path_factory: pytest.TempPathFactory) -> PrepareConfig:
    """A corpus that takes a few seconds."""
    folder = tmp_path_factory.mktemp("big")
    wow_sized.write(folder, 500)
    return compose(*BASE, f"data.path={folder}", name="prepare")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def whole(big: PrepareConfig, byte_source: TokenizerSource, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Its entry, made without interruption."""
    return prepare(big.data, big.knowledge, big.prompt, "train", byte_source, str(tmp_path_factory.mktemp("whole")))


@pytest.fixture
def started(big: PrepareConfig, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has just begun to prepare it."""
    given = big.model_copy(update={"cache_dir": str(tmp_path)}).model_dump_json()
    command = [sys.executable, "-c", JOB, given]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        yield process
        process.kill()


def test_killed_in_the_middle_it_leaves_nothing_that_counts(
    big: PrepareConfig, whole: Prepared, byte_source: TokenizerSource, started: subprocess.Popen[str], tmp_path: Path
) -> None:
    name, folder = whole.folder.name, tmp_path / "prepared"
    written = folder / f"{name}.part" / "examples.arrow"
    while not (written.is_file() and written.stat().st_size > 100_000):
        assert started.poll() is None
        time.sleep(0.005)
    started.kill()
    assert started.wait() == -signal.SIGKILL
    assert left_in(tmp_path) == [f"{name}.lock", f"{name}.part"]
    assert 0 < written.stat().st_size < (whole.folder / "examples.arrow").stat().st_size
    again = prepare(big.data, big.knowledge, big.prompt, "train", byte_source, str(tmp_path))
    assert not again.was_there
    assert again.facts.fingerprint == whole.facts.fingerprint
    assert again.facts.encoded_sha256 == whole.facts.encoded_sha256
    assert left_in(tmp_path) == [name, f"{name}.lock"]
    assert (folder / name / "examples.arrow").read_bytes() == (whole.folder / "examples.arrow").read_bytes()


def test_of_two_processes_one_makes_it(
    big: PrepareConfig, whole: Prepared, byte_source: TokenizerSource, started: subprocess.Popen[str], tmp_path: Path
) -> None:
    ours = prepare(big.data, big.knowledge, big.prompt, "train", byte_source, str(tmp_path))
    theirs = started.communicate()[0].split()
    assert sorted([theirs[0], str(ours.was_there)]) == ["False", "True"]
    assert theirs[1:] == [whole.facts.fingerprint, whole.facts.encoded_sha256]
    assert ours.facts.fingerprint == whole.facts.fingerprint
    assert ours.facts.encoded_sha256 == whole.facts.encoded_sha256
    assert left_in(tmp_path) == [whole.folder.name, f"{whole.folder.name}.lock"]
