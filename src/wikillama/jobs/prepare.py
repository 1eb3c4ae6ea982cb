"""Runs the data room over a whole corpus and counts what comes out."""

from rich.table import Table

from wikillama.config.schema import PrepareConfig
from wikillama.data.corpus import Split, read_dialogues
from wikillama.data.dialogue import Dialogue
from wikillama.data.encode import Encoded, cuts, encode_all
from wikillama.data.grounding import examples
from wikillama.errors import InputError
from wikillama.jobs.console import Phases, bar, console, quiet_libraries
from wikillama.model.base import load_tokenizer_only

SPLITS: tuple[Split, ...] = ("train", "valid_seen", "valid_unseen", "test_seen", "test_unseen")


def prepare(cfg: PrepareConfig) -> None:
    """Read, ground, format and encode each split that the corpus has, and print a table of counts."""
    quiet_libraries()
    phases = Phases()
    tokenizer = load_tokenizer_only(cfg.model, cfg.cache_dir)
    table = Table(
        "split", "dialogues", "turns", "topics", "Wizard turns", "without knowledge", "tokens: mean", "p95", "cut",
        title=f"{cfg.data.name}, {cfg.prompt.template} prompts, tokens of {cfg.model.name}", title_justify="left",
    )  # fmt: skip
    for split in SPLITS:
        with phases(split, "read, ground, format, encode"):
            try:
                dialogues = list(read_dialogues(cfg.data, split))
            except InputError as error:
                if split == "train":
                    raise
                console.print(f"  left out: {error}")
                continue
            grounded = [example for dialogue in dialogues for example in examples(dialogue, cfg.knowledge)]
            encoded = encode_all(grounded, cfg.prompt, tokenizer, cfg.data.max_length, progress=bar(f"encode {split}"))
        table.add_row(split, *_counts(dialogues, encoded), end_section=split == SPLITS[-1])
    console.print(table)
    console.print(f"wall time  {phases}")


def _counts(dialogues: list[Dialogue], encoded: list[Encoded]) -> list[str]:
    longest = {d.id: 0 for d in dialogues}  # rows cut out of one conversation repeat its earlier turns
    for d in dialogues:
        longest[d.id] = max(longest[d.id], len(d.turns))
    replies = [turn for d in dialogues for turn in d.turns if turn.target]
    lengths = sorted(len(e.input_ids) for e in encoded)
    return [
        f"{len(longest):,}",
        f"{sum(longest.values()):,}",
        f"{len({d.topic for d in dialogues if d.topic}):,}",
        f"{len(replies):,}",
        f"{sum(turn.knowledge is None for turn in replies):,}",
        f"{sum(lengths) / max(1, len(lengths)):.0f}",
        f"{lengths[int(0.95 * len(lengths))] if lengths else 0}",
        ", ".join(f"{cut} {n:,}" for cut, n in cuts(encoded).items() if n) or "none",
    ]
