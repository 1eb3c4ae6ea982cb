"""The cache of encoded splits: made once from a corpus, then memory-mapped.

An entry is a folder named by what decides on its contents: the bytes of the corpus, how it is read, grounded and
formatted, and the tokenizer. It is filled beside its place and moved there when it is whole, so that a run that was
killed leaves nothing that could be taken for a corpus. It holds

    examples.arrow     id, input_ids, prompt_length, length, cut: one row a Wizard turn (Arrow stream)
    quarantine.jsonl   the rows of the corpus that could not be used, and why
    facts.json         counts and fingerprints, see `Facts`
"""

import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import orjson
import pyarrow as pa
from filelock import FileLock

from wikillama.config.schema import DataConfig, KnowledgeConfig, PromptConfig
from wikillama.data.corpus import Source, Split, read_dialogues, sources
from wikillama.data.dialogue import BadRow, Dialogue, Example, OnBadRow, refuse
from wikillama.data.encode import Encoded, Encoder
from wikillama.data.grounding import ground
from wikillama.data.hashing import remembered_sha256
from wikillama.data.hub import open_split
from wikillama.data.prompt import messages
from wikillama.data.retrieval.on_demand import IndexSource
from wikillama.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STAGES = ("extraction", "conversion", "instruction", "training-ready")
Advance = Callable[[str, int, int | None], None]  # stage, how much of it is done, of how much

_LAYOUT = "1"  # part of the key: raise it when the same input would be encoded otherwise
_BATCH = 1024  # examples encoded and written together
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "input_ids": pa.list_(pa.int32()),
        "prompt_length": pa.int32(),
        "length": pa.int32(),
        "cut": pa.dictionary(pa.int8(), pa.string()),
    }
)
_CUTS = ["nothing", "history", "prompt"]


@dataclass(frozen=True, slots=True)
class TokenizerSource:
    """A tokenizer that is loaded only where there is something to encode."""

    fingerprint: str
    load: "Callable[[], PreTrainedTokenizerBase]"


@dataclass(slots=True)
class Facts:
    """What a split came to. `fingerprint` is of all that a model may see and learn, whatever the tokenizer."""

    split: str
    dialogues: int = 0
    turns: int = 0
    topics: list[str] = field(default_factory=list)
    replies: int = 0  # Wizard turns that count
    without_knowledge: int = 0
    bad_rows: int = 0
    bad_row: str = ""  # the first of them
    tokens: int = 0
    cut_history: int = 0
    cut_prompt: int = 0
    fingerprint: str = ""
    encoded_sha256: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """An entry of the cache."""

    folder: Path
    facts: Facts
    was_there: bool

    @property
    def quarantine(self) -> Path:
        return self.folder / "quarantine.jsonl"

    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return self.table()["length"].to_pylist()  # type: ignore[no-any-return]

    def table(self) -> pa.Table:
        """The memory-mapped examples."""
        return pa.ipc.open_stream(pa.memory_map(str(self.folder / "examples.arrow"))).read_all()


class EncodedExamples(Sequence[Encoded]):
    """Examples of an entry at some of its places, read when they are asked for."""

    def __init__(self, prepared: Prepared, places: Sequence[int]) -> None:
        self._table, self._places = prepared.table(), places
        lengths = prepared.lengths()
        self.lengths = [lengths[place] for place in places]

    def __len__(self) -> int:
        return len(self._places)

    def cuts(self) -> dict[str, int]:
        """How many of the examples were cut, by what had to go."""
        cut = self._table["cut"].combine_chunks().dictionary_decode().to_pylist()
        counts = Counter(cut[place] for place in self._places)
        return {name: counts[name] for name in ("history", "prompt")}

    def __getitem__(self, number: int) -> Encoded:  # type: ignore[override]  # slices are not needed
        place = self._places[number]
        ids = self._table["input_ids"][place].values.to_numpy().tolist()
        return Encoded(ids, self._table["prompt_length"][place].as_py(), self._table["cut"][place].as_py())


def prepare(
    data: DataConfig,
    knowledge: KnowledgeConfig,
    prompt: PromptConfig,
    split: Split,
    tokenizer: TokenizerSource,
    cache_dir: str,
    seed: int = 0,
    advance: Advance | None = None,
    index: IndexSource | None = None,
) -> Prepared:
    """The entry of a split, made where it is not there yet. `index` is what knowledge of that source is looked up in.

    Raises InputError for what cannot be read, for a split without a Wizard turn, and where the cache cannot be
    written.
    """
    cache = Path(cache_dir).expanduser()
    shown = knowledge.for_split(split)
    index = index if shown.mode in ("retrieved", "mixed") else None
    key = _key(data, shown, prompt, split, tokenizer, cache, seed, index)
    folder = cache / "prepared" / f"{data.name}-{split}-{key}"
    if (folder / "facts.json").is_file():
        return Prepared(folder, _read_facts(folder), was_there=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if (folder / "facts.json").is_file():  # another process was faster
                return Prepared(folder, _read_facts(folder), was_there=True)
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed: this one holds the lock
            part.mkdir()
            try:
                facts = _fill(part, data, shown, prompt, split, tokenizer.load(), seed, advance, index)
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"cache_dir={cache_dir}: cannot be written ({error.strerror or error}); free space there, or give another"
        ) from error
    return Prepared(folder, facts, was_there=False)


def _key(
    data: DataConfig,
    knowledge: KnowledgeConfig,
    prompt: PromptConfig,
    split: Split,
    tokenizer: TokenizerSource,
    cache: Path,
    seed: int,
    index: IndexSource | None,
) -> str:
    parts = {
        "layout": _LAYOUT,
        "reading": data.model_dump(include={"format", "fields", "turns", "on_bad_row", "holdout", "max_length"}),
        "sources": [_identity(data, source, cache) for source in sources(data, split)],
        "split": split,
        "knowledge": knowledge.model_dump(exclude={"held_out"}),
        "index": None if index is None else index.fingerprint,
        "prompt": prompt.model_dump(),
        "tokenizer": tokenizer.fingerprint,
        "seed": seed if knowledge.mode == "mixed" else None,
    }
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _identity(data: DataConfig, source: Source, cache: Path) -> list[str]:
    if source.path is None:
        return [source.name, str(open_split(data, source.name)._fingerprint)]
    return [source.name, remembered_sha256(source.path, cache)]


def _read_facts(folder: Path) -> Facts:
    return Facts(**orjson.loads((folder / "facts.json").read_bytes()))


def _fill(
    folder: Path,
    data: DataConfig,
    knowledge: KnowledgeConfig,
    prompt: PromptConfig,
    split: Split,
    tokenizer: "PreTrainedTokenizerBase",
    seed: int,
    advance: Advance | None,
    index: IndexSource | None,
) -> Facts:
    """Read, ground, format and encode a split into `folder`, a batch being encoded while the next one is read."""
    started = time.perf_counter()
    facts = Facts(split)
    say = advance or (lambda stage, done, total: None)
    encoder = Encoder(prompt, tokenizer, data.max_length)
    seen, encoded = hashlib.sha256(), hashlib.sha256()
    with (
        (folder / "quarantine.jsonl").open("wb") as quarantine,
        (folder / "examples.arrow").open("wb") as file,
        ThreadPoolExecutor(1) as pool,
    ):
        on_bad_row = _quarantining(quarantine, facts) if data.on_bad_row == "skip" else refuse
        dialogues = read_dialogues(data, split, on_bad_row, lambda done, size: say("extraction", done, size))
        waiting: tuple[list[Example], Future[list[Encoded]]] | None = None
        with pa.ipc.new_stream(file, _SCHEMA) as writer:
            for batch in _batches(ground(_counted(dialogues, facts), knowledge, seed, index)):
                conversations = [messages(example, prompt) for example in batch]
                facts.replies += len(batch)
                facts.without_knowledge += sum(example.gold_knowledge is None for example in batch)
                say("conversion", facts.replies, None)
                for example in batch:
                    seen.update(orjson.dumps(_visible(example)))
                if waiting is not None:
                    _write(writer, *waiting, facts, encoded, say)
                waiting = batch, pool.submit(encoder, batch, conversations)
            if waiting is not None:
                _write(writer, *waiting, facts, encoded, say)
        for written in (quarantine, file):
            written.flush()
            os.fsync(written.fileno())
    if not facts.replies:
        raise InputError(f"data={data.name}: split {split} has no Wizard turn")
    facts.topics.sort()
    facts.fingerprint, facts.encoded_sha256 = seen.hexdigest(), encoded.hexdigest()
    facts.seconds = round(time.perf_counter() - started, 3)
    (folder / "facts.json").write_bytes(orjson.dumps(asdict(facts)))
    return facts


def _quarantining(file: BinaryIO, facts: Facts) -> OnBadRow:
    def put_aside(row: BadRow) -> None:
        raw = row.raw.decode("utf-8", errors="backslashreplace")
        file.write(orjson.dumps({"where": row.where, "reason": row.reason, "raw": raw}) + b"\n")
        facts.bad_rows += 1
        facts.bad_row = facts.bad_row or f"{row.where}: {row.reason}"

    return put_aside


def _counted(dialogues: Iterable[Dialogue], facts: Facts) -> Iterator[Dialogue]:
    topics: set[str] = set()
    for dialogue in dialogues:
        facts.dialogues += 1
        facts.turns += len(dialogue.turns)
        if dialogue.topic is not None and dialogue.topic not in topics:
            topics.add(dialogue.topic)
            facts.topics.append(dialogue.topic)
        yield dialogue


def _batches(examples: Iterator[Example]) -> Iterator[list[Example]]:
    while batch := list(islice(examples, _BATCH)):
        yield batch


def _visible(example: Example) -> list[object]:
    knowledge = [list(sentence) for sentence in example.knowledge]
    return [example.history, knowledge, example.response, example.topic, example.persona]


def _write(
    writer: pa.ipc.RecordBatchStreamWriter,
    batch: list[Example],
    future: "Future[list[Encoded]]",
    facts: Facts,
    digest: "hashlib._Hash",
    say: Advance,
) -> None:
    made = future.result()
    ids = pa.array([e.input_ids for e in made], pa.list_(pa.int32()))
    prompts = pa.array([e.prompt_length for e in made], pa.int32())
    cuts = pa.array([_CUTS.index(e.cut) for e in made], pa.int8())
    columns = [
        pa.array([example.id for example in batch]),
        ids,
        prompts,
        pa.array([len(e.input_ids) for e in made], pa.int32()),
        pa.DictionaryArray.from_arrays(cuts, pa.array(_CUTS)),
    ]
    writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
    for part in (ids.values, ids.offsets, prompts):
        digest.update(part.to_numpy())
    facts.tokens += len(ids.values)
    facts.cut_history += sum(e.cut == "history" for e in made)
    facts.cut_prompt += sum(e.cut == "prompt" for e in made)
    say("instruction", facts.replies, None)
    say("training-ready", facts.tokens, None)
