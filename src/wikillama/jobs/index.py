"""Makes the index that knowledge is looked up in, with bars, and says what is in it."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from wikillama.config.paths import portable
from wikillama.config.schema import DataConfig, EvaluateConfig, PrepareConfig, RetrieverConfig, TrainConfig
from wikillama.data.retrieval.on_demand import IndexSource, for_corpus, index_source
from wikillama.jobs.console import console

if TYPE_CHECKING:
    from wikillama.data.retrieval.index import Index


def knowledge_index(cfg: TrainConfig | EvaluateConfig | PrepareConfig, data: DataConfig) -> IndexSource | None:
    """The index of a job, with bars while it is made; None where its knowledge is looked up in none."""
    return index_source(cfg.knowledge, cfg.retriever, data, cfg.cache_dir, open_with_bars)


def open_with_bars(config: RetrieverConfig, cache_dir: str) -> "Index":
    """The index of a configuration; a bar for each stage of its making, where somebody would see it move."""
    from wikillama.data.retrieval.build import STAGES, open_index  # here, for the sake of jobs that need no index

    columns = (TextColumn("  index: {task.description:<9}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        tasks = {stage: bars.add_task(stage, total=None, said="", visible=False) for stage in STAGES}

        def say(stage: str, done: int, total: int) -> None:
            said = f"{done:,} of {total:,} {STAGES[stage]}"
            bars.update(tasks[stage], completed=done, total=total, said=said, visible=True)

        return open_index(config, cache_dir, say)


def make_index(retriever: RetrieverConfig, data: DataConfig, cache_dir: str) -> "Index":
    """Make or find the index of a configuration, and print what is in it."""
    config = for_corpus(retriever, data)
    index = open_with_bars(config, cache_dir)
    facts = index.facts
    console.print(
        f"index         {config.kind}: {facts.articles:,} articles, {facts.sentences:,} sentences, "
        f"{facts.words:,} distinct words"
    )
    if facts.bad_rows:
        console.print(
            f"bad rows      {facts.bad_rows:,}, in {portable(str(index.folder / 'quarantine.jsonl'))}", soft_wrap=True
        )
        console.print(f"              such as {escape(facts.bad_row)}", soft_wrap=True)
    console.print(f"made in       {facts.seconds:.1f} s, {facts.megabytes:,.1f} MB")
    console.print(f"cache         {portable(str(index.folder))}", soft_wrap=True)
    return index
