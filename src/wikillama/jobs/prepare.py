"""Runs the data room over a whole corpus and says what came out."""

from rich.markup import escape
from rich.table import Column, Table

from wikillama.config.paths import portable
from wikillama.config.schema import DataConfig, PackingConfig, PrepareConfig
from wikillama.data.check import check_corpus
from wikillama.data.corpus import Split
from wikillama.data.label_report import LABEL_REPORT, write_label_report
from wikillama.data.locate import locate
from wikillama.data.packing import best_fit, waste
from wikillama.data.prepared import Prepared, TokenizerSource, prepare
from wikillama.data.wow import OFFICIAL_COUNTS, OFFICIAL_TOPICS, STUDY_TOPICS
from wikillama.errors import InputError
from wikillama.jobs.console import Phases, StageBars, console, download_bar
from wikillama.jobs.index import knowledge_index, make_index
from wikillama.jobs.tokenizer import tokenizer_source

SPLITS: tuple[Split, ...] = ("train", "valid_seen", "valid_unseen", "test_seen", "test_unseen")


def run(cfg: PrepareConfig) -> dict[str, Prepared]:
    """Make or find the cache of each split that the corpus has, and print a table of counts; or check the corpus, or
    make the index of its retriever."""
    phases = Phases()
    with download_bar("corpus") as progress:
        data = locate(cfg.data, cfg.cache_dir, progress)
    if cfg.check:
        _check(data)
        return {}
    if cfg.index:
        make_index(cfg.retriever, data, cfg.cache_dir)
        return {}
    index = knowledge_index(cfg, data)
    tokenizer = tokenizer_source(cfg.model, cfg.cache_dir)
    found: dict[str, Prepared] = {}
    for split in SPLITS:
        try:
            with phases(split, "extraction, conversion, instruction, training-ready"), StageBars(split) as bars:
                found[split] = prepare(
                    data, cfg.knowledge, cfg.prompt, split, tokenizer, cfg.cache_dir, cfg.seed, bars, index
                )
        except InputError as error:
            if split == "train":
                raise
            console.print(f"  left out: {escape(str(error))}")
    console.print()
    console.print(_table(cfg, found))
    _say_more(cfg, found, tokenizer, phases)
    return found


def _table(cfg: PrepareConfig, found: dict[str, Prepared]) -> Table:
    title = f"{cfg.data.name}, knowledge {cfg.knowledge.mode}, {cfg.prompt.template} prompts, {cfg.model.name} tokens"
    table = Table(
        Column("split", no_wrap=True),
        *("dialogues", "turns", "topics", "Wizard turns", "without knowledge", "tokens: mean", "p95", "cut"),
        title=title, title_justify="left",
    )  # fmt: skip
    official = cfg.data.name == "wow"
    for split, prepared in found.items():
        facts = prepared.facts
        lengths = sorted(prepared.lengths())
        cut = {"history": facts.cut_history, "prompt": facts.cut_prompt}
        dialogues, turns = OFFICIAL_COUNTS.get(split, (None, None)) if official else (None, None)
        table.add_row(
            split,
            _beside(facts.dialogues, dialogues),
            _beside(facts.turns, turns),
            f"{len(facts.topics):,}",
            f"{facts.replies:,}",
            f"{facts.without_knowledge:,}",
            f"{facts.tokens / facts.replies:.0f}",
            f"{lengths[int(0.95 * len(lengths))]}",
            ", ".join(f"{name} {n:,}" for name, n in cut.items() if n) or "none",
        )
    every = [prepared.facts for prepared in found.values()]
    topics = {topic for facts in every for topic in facts.topics}
    all_dialogues, all_turns = OFFICIAL_COUNTS["all"] if official else (None, None)
    table.add_section()
    table.add_row(
        "all",
        _beside(sum(f.dialogues for f in every), all_dialogues),
        _beside(sum(f.turns for f in every), all_turns),
        _beside(len(topics), OFFICIAL_TOPICS if official else None),
        f"{sum(f.replies for f in every):,}",
        f"{sum(f.without_knowledge for f in every):,}",
        f"{sum(f.tokens for f in every) / sum(f.replies for f in every):.0f}",
    )
    return table


def _beside(count: int, official: int | None) -> str:
    return f"{count:,}" if official is None else f"{count:,} of {official:,}"


def _say_more(cfg: PrepareConfig, found: dict[str, Prepared], tokenizer: TokenizerSource, phases: Phases) -> None:
    if cfg.data.name == "wow":
        console.print(
            f"topics        the study speaks of {STUDY_TOPICS:,}; the corpus has {OFFICIAL_TOPICS:,} chosen topics "
            "(Dinan et al. 2019), which is what is counted here. The study does not say what it counted."
        )
    for split, prepared in found.items():
        if prepared.facts.bad_rows:
            console.print(
                f"bad rows      {split}: {prepared.facts.bad_rows:,}, in {portable(str(prepared.quarantine))}",
                soft_wrap=True,
            )
            console.print(f"              such as {escape(prepared.facts.bad_row)}", soft_wrap=True)
    if cfg.packing.strategy != "none":
        console.print(f"packing       {_packing(found['train'].lengths(), cfg.packing)}")
    report = found["train"].folder / LABEL_REPORT
    if not report.is_file():
        write_label_report(report, found["train"], tokenizer.load(), cfg.prompt)
    made = sum(not prepared.was_there for prepared in found.values())
    console.print(
        f"look further  {portable(str(report))}   (what the model sees and learns, 20 examples)", soft_wrap=True
    )
    console.print(
        f"cache         {portable(str(found['train'].folder.parent))}   ({made} made, {len(found) - made} found)",
        soft_wrap=True,
    )
    console.print(f"wall time     {phases}")


def _packing(lengths: list[int], packing: PackingConfig) -> str:
    rows = best_fit(lengths, packing.length)
    share = waste(lengths, rows, packing.length)
    return (
        f"train: {len(lengths):,} turns in {len(rows):,} rows of {packing.length:,} tokens, {share:.1%} of them padding"
    )


def _check(data: DataConfig) -> None:
    table = Table("what must hold", "held", "not", title=f"check of {data.name}", title_justify="left")
    findings = check_corpus(data)
    for finding in findings:
        table.add_row(finding.rule, f"{finding.held:,}", f"{len(finding.broken):,}")
    console.print(table)
    broken = [line for finding in findings for line in finding.broken]
    if broken:
        raise InputError(f"data={data.name}: {len(broken)} faults, such as: {broken[0]}")
