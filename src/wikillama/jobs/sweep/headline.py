"""The figures that a sweep shows of each of its runs."""

from typing import NamedTuple

from wikillama.tracking.reading import RunFacts


class Headline(NamedTuple):
    """A figure: how it is called and written, and where MLflow has it; `{suite}` is what a run is scored on."""

    label: str
    metric: str
    form: str

    def of(self, run: RunFacts) -> float | None:
        return run.metrics.get(self.metric.format(suite=run.params.get("suite.name", "")))


F1 = Headline("F1", "{suite}/f1", ".3f")
CORRECT = Headline("qa200 correct", "qa200/correct", ".0f")
ADAPTER_MB = Headline("adapter MB", "adapter/size_mb", ",.2f")
TOKENS_PER_S = Headline("tokens/s", "train/mean_tokens_per_s", ",.0f")
FIT_S = Headline("fit s", "runtime/fit_s", ",.0f")
HEADLINES = (
    F1,
    Headline("KF1", "{suite}/kf1", ".3f"),
    Headline("perplexity", "{suite}/ppl", ".2f"),
    CORRECT,
    ADAPTER_MB,
    TOKENS_PER_S,
    FIT_S,
)


def objective_of(name: str) -> Headline:
    """The figure that `sweep.objective` names."""
    metric = name if "/" in name else f"{{suite}}/{name}"
    return next((known for known in HEADLINES if known.metric == metric), Headline(name, metric, ".3f"))


def said_of(run: RunFacts) -> str:
    """The figures that a run has, in one line."""
    known = [(headline, headline.of(run)) for headline in HEADLINES]
    return ", ".join(f"{headline.label} {value:{headline.form}}" for headline, value in known if value is not None)
