"""Figures show the counts they are given, in black and white and at both widths, with nothing cut off."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import pytest
from invented import NAMES, evaluation, like_the_study, study_labels, system
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from wikillama.evaluation.comparison import Comparison, compare
from wikillama.evaluation.plots import (
    COLUMN,
    PAGE,
    CostPoint,
    agreement_matrix,
    costs,
    matrix,
    save,
    topic_bars,
    transition_matrix,
)
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Costs

WIDTHS = pytest.mark.parametrize("width", [COLUMN, PAGE])
MERIT = Estimate(0.7, 0.6, 0.8, 200)
LONG = "runs:/412bdd45ead6403bb761114fbf0c5fcd/adapter"


@pytest.fixture(scope="module")
def studied() -> Comparison:
    found = like_the_study()
    human = {"qlora": study_labels(1), "base": study_labels(2)}
    return compare(evaluation(found.systems, human))


def texts(figure: Figure) -> str:
    said = "\n".join(text.get_text() for text in figure.findobj(Text))
    return said.replace("\N{NO-BREAK SPACE}", " ")


def inside(figure: Figure) -> bool:
    """Whether all that is drawn lies within the figure, to a hundredth of an inch."""
    figure.draw_without_rendering()
    drawn, edge = figure.get_tightbbox(), figure.bbox_inches.padded(0.01)
    return bool(edge.x0 <= drawn.x0 and drawn.x1 <= edge.x1 and edge.y0 <= drawn.y0 and drawn.y1 <= edge.y1)


def bars(figure: Figure) -> list[BarContainer]:
    return [found for found in figure.axes[0].containers if isinstance(found, BarContainer)]


def grey(color: object) -> float:
    red, green, blue = to_rgb(color)  # type: ignore[arg-type]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_bars_are_the_counts_of_each_topic(studied: Comparison) -> None:
    figure = topic_bars(studied.systems, studied.reported)
    heights = [[round(bar.get_height()) for bar in container] for container in bars(figure)]
    assert heights[0] == [15, 10, 10, 9, 9, 10, 12, 17, 17, 13]
    assert heights[2] == heights[5] == [18, 12, 12, 12, 11, 13, 14, 20, 20, 17]
    whiskers = bars(figure)[2].errorbar.lines[2][0].get_segments()
    assert [whiskers[6][0][1], whiskers[6][1][1]] == pytest.approx([20 * 0.481, 20 * 0.855], abs=0.01)
    said = texts(figure)
    for expected in ("correct answers of 20", "n = 200", "qlora: 149 of 200", "Llama 2 base, reported: 122 of 200"):
        assert expected in said


def test_bars_are_told_apart_without_color(studied: Comparison) -> None:
    looks = [container[0] for container in bars(topic_bars(studied.systems, studied.reported))]
    ours, reported = looks[:3], looks[3:]
    assert all(grey(a.get_facecolor()[:3]) - grey(b.get_facecolor()[:3]) > 0.2 for a, b in pairwise(ours))
    assert len({bar.get_hatch() for bar in reported}) == 3
    assert all(bar.get_hatch() and grey(bar.get_facecolor()[:3]) == pytest.approx(1) for bar in reported)
    many = [replace(studied.systems[0], name=f"system {n}") for n in range(9)]
    looks = [container[0] for container in bars(topic_bars(many))]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in looks}) == 9


def test_topics_of_different_size_are_shown_in_per_cent() -> None:
    labels = {"cars-001": "correct", "cars-002": "wrong", "cars-003": "correct", "cars-004": "correct"}
    found = compare(evaluation([system("a", {**labels, "art-001": "wrong"})]))
    figure = topic_bars(found.systems, found.reported)
    assert [bar.get_height() for bar in bars(figure)[0]] == [75, 0]
    assert [bar.get_height() for bar in bars(figure)[1]] == pytest.approx([70, 50])
    said = texts(figure)
    assert "correct answers, %" in said
    assert "cars\nn=4" in said


@WIDTHS
def test_nothing_is_cut_off(studied: Comparison, width: float) -> None:
    pair = studied.pairs[0]
    table = studied.systems[0].by_topic
    assert table is not None
    points = [CostPoint(name, MERIT, Costs("h", reply_s=n, peak_gb=2.0, adapter_mb=n)) for n, name in enumerate(NAMES)]
    drawn = costs(points, "strict accuracy", width)
    assert drawn is not None
    for figure in (
        topic_bars(studied.systems, width=width),
        topic_bars(studied.systems, studied.reported, width),
        transition_matrix(pair.transition, pair.mcnemar.p, width),
        agreement_matrix(studied.judge[0].agreement, width),
        matrix(table, width=width),
        drawn,
    ):
        assert inside(figure)
        assert figure.get_figwidth() == width
        smallest = min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text())
        assert smallest >= 7


def test_a_matrix_shows_counts_shares_and_totals(studied: Comparison) -> None:
    pair = studied.pairs[1]
    said = texts(transition_matrix(pair.transition, pair.mcnemar.p))
    for expected in ("122\n100%", "correct (122)", "correct\n(149)", "n = 200", "27 won, 0 lost", "p < .0001", "qlora"):
        assert expected in said
    said = texts(agreement_matrix(studied.judge[0].agreement))
    for expected in ("Judge against human labels: base", "human", "judge", "kappa .", "correct or not: kappa ."):
        assert expected in said


def test_cost_panels_only_where_something_is_known() -> None:
    base = CostPoint("base", MERIT, Costs("h", reply_s=1.5))
    tuned = CostPoint("tuned", Estimate(0.8, float("nan"), float("nan"), 200), Costs("h", reply_s=2.5, adapter_mb=60))
    figure = costs([base, tuned], "strict accuracy")
    assert figure is not None
    assert [axes.get_xlabel() for axes in figure.axes] == ["adapter, MB\n(without: base)", "one reply, s"]
    assert figure.axes[0].get_ylabel() == "strict accuracy"
    assert "Strict accuracy against cost, n = 200" in texts(figure)
    drawn = [line.get_xydata()[0].tolist() for line in figure.axes[1].lines if line.get_marker() in "os"]
    assert drawn == [[1.5, 0.7], [2.5, 0.8]]
    assert costs([CostPoint("base", MERIT, Costs("h", start_s=1))], "strict accuracy") is None


def test_names_may_be_long_or_look_like_formulas() -> None:
    labels = {"cars-001": "correct", "art-001": "wrong"}
    found = compare(evaluation([system(LONG, labels), system("$\\frac", labels)]))
    for width in (COLUMN, PAGE):
        figure = topic_bars(found.systems, width=width)
        assert inside(figure)
        assert "$\\frac: 1 of 2" in texts(figure)
        assert "runs:/412bdd45ead640…" in texts(figure)
        assert inside(transition_matrix(found.pairs[0].transition, 1.0, width))


def test_files_are_small_and_reproducible(studied: Comparison, tmp_path: Path) -> None:
    first = save(topic_bars(studied.systems, studied.reported), tmp_path / "new" / "topics.png")
    again = save(topic_bars(studied.systems, studied.reported), tmp_path / "again.png")
    assert first.read_bytes() == again.read_bytes()
    assert first.stat().st_size < 150_000
    assert mpl.image.imread(first).shape[1] == 1050  # 7 inches of 150 dots


def test_drawing_leaves_matplotlib_as_it_was(studied: Comparison) -> None:
    before = dict(mpl.rcParams)
    topic_bars(studied.systems)
    assert dict(mpl.rcParams) == before
