"""What a sweep makes of its runs, without running any: plan, fronts, best job, tables, pictures."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from wikillama.config.schema import SweepConfig, TrackingConfig
from wikillama.evaluation.plots import save
from wikillama.jobs.sweep.figures import against_costs, against_swept
from wikillama.jobs.sweep.fronts import front
from wikillama.jobs.sweep.headline import said_of
from wikillama.jobs.sweep.plan import Plan, plan_of, values_of
from wikillama.jobs.sweep.rows import Row, best_of, rows_of
from wikillama.jobs.sweep.state import Sweep
from wikillama.jobs.sweep.table import columns_of, console_table, markdown_table, records_of
from wikillama.tracking.reading import RunFacts
from wikillama.tracking.sweeps import SweptJob

# rank: F1, perplexity, adapter MB, seconds, tokens/s
MEASURED = {"4": (0.30, 9.0, 2.4, 90, 150), "8": (0.40, 8.5, 4.8, 110, 140), "16": (0.35, 8.0, 9.6, 100, 145)}


def hydra_node(*overrides: str, **sweeper: Any) -> Any:
    return OmegaConf.create({"overrides": {"task": list(overrides)}, "sweeper": sweeper})


@pytest.mark.parametrize(
    ("node", "swept", "jobs"),
    [
        (hydra_node("experiment=demo", "peft.r=4,8", "seed=0,1,2"), {"peft.r": "4,8", "seed": "0,1,2"}, 6),
        (hydra_node("peft.r=8", params={"peft.r": "4,8", "knowledge": "gold,none"}), {"knowledge": "gold,none"}, 2),
        (hydra_node("peft.r=range(2,8,2)", params=None), {"peft.r": "range(2,8,2)"}, 3),
        (hydra_node("optim.lr=interval(0,1)", n_trials=7), {"optim.lr": "interval(0,1)"}, 7),
        (hydra_node("optim.lr=interval(0,1)"), {"optim.lr": "interval(0,1)"}, None),
        (hydra_node("experiment=[demo,rank_sweep]"), {}, 1),
    ],
)
def test_the_plan_is_read_off_the_command_line(node: Any, swept: dict[str, str], jobs: int | None) -> None:
    plan = plan_of(node)
    assert (plan.swept, plan.jobs) == (swept, jobs)


def test_values_of_a_job() -> None:
    overrides = ["experiment=demo", "peft.target_modules=[q_proj,v_proj]", "+x=a=b"]
    assert values_of(overrides, ["peft.target_modules", "+x"]) == {
        "peft.target_modules": "[q_proj,v_proj]",
        "+x": "a=b",
    }


def test_a_front_is_what_no_other_point_beats() -> None:
    assert front([(0.3, 2.0), (0.4, 5.0), (0.35, 9.0), (0.4, 6.0), (0.1, 2.0)]) == [0, 1]
    assert front([(0.3, 2.0), (0.3, 2.0)]) == [0, 1]  # equals do not beat each other
    assert front([]) == []


def sweep_of(objective: str, *keys: str, jobs: int = 4) -> Sweep:
    tracking = TrackingConfig(uri="", experiment="")
    return Sweep("parent", tracking, SweepConfig(objective=objective), Plan(dict.fromkeys(keys, ""), jobs), 0)  # type: ignore[arg-type]


def job(
    number: int, rank: str, status: str = "FINISHED", further: tuple[str, ...] = (), found: bool = False
) -> SweptJob:
    f1, ppl, mb, seconds, speed = MEASURED.get(rank, (0.0,) * 5)
    metrics = {
        "seen/f1": f1, "seen/ppl": ppl, "qa200/correct": 30.0, "adapter/size_mb": mb, "runtime/fit_s": float(seconds),
        "train/mean_tokens_per_s": float(speed),
    }  # fmt: skip
    known = metrics if status == "FINISHED" else {}
    tags = {} if status == "FINISHED" else {"wikillama.error": "ValueError: a | b"}
    run = RunFacts(f"run{rank}", "", status, 0.0, 60.0, {"suite.name": "seen"}, known, tags)
    return SweptJob(number, ("experiment=demo", f"peft.r={rank}", *further), run, found)


@pytest.fixture
def rows() -> list[Row]:
    jobs = [job(0, "4"), job(1, "8", found=True), job(2, "16"), job(3, "0", "FAILED")]
    return rows_of(sweep_of("f1", "peft.r"), jobs)


def test_each_job_is_on_the_fronts_where_none_beats_it(rows: list[Row]) -> None:
    assert [row.fronts for row in rows] == [("size", "time", "speed"), ("size", "time", "speed"), ("time", "speed"), ()]
    less = rows_of(sweep_of("ppl", "peft.r"), [row.job for row in rows])
    assert less[1].fronts == ("size",)
    assert less[2].fronts == ("size", "time", "speed")


def test_the_best_job_comes_as_a_command(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py", "-m"])
    best = best_of(rows, "f1")
    assert best is not None
    assert best.number == 2
    assert best.command == "python train.py experiment=demo peft.r=8"
    least = best_of(rows, "ppl")
    assert least is not None
    assert least.number == 3
    assert best_of(rows[3:], "f1") is None
    assert best_of(rows, "rouge_l") is None  # which no job has


def test_a_command_is_safe_for_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    (row,) = rows_of(sweep_of("f1", "peft.r"), [job(0, "4", further=("peft.target_modules=[q_proj,v_proj]", "x=a b"))])
    assert row.command.endswith("'peft.target_modules=[q_proj,v_proj]' 'x=a b'")


def test_the_table_shows_every_job_and_what_it_came_to(rows: list[Row]) -> None:
    columns = columns_of(rows, "f1")
    assert columns["peft.r"] == ["4", "8", "16", "0"]
    assert columns["status"] == ["FINISHED", "found", "FINISHED", "FAILED"]
    assert columns["F1"] == ["0.300", "0.400", "0.350", ""]
    assert columns["adapter MB"] == ["2.40", "4.80", "9.60", ""]
    assert "KF1" not in columns  # which no job has
    assert list(columns_of(rows, "rouge_l")) == list(columns)
    lines = markdown_table(columns).splitlines()
    assert len(lines) == 6
    assert lines[3].startswith("| 2 | 8 | found | 60 | 0.400 |")
    console = Console(width=120, record=True)
    console.print(console_table(columns))
    assert "run16" in console.export_text()


def test_machines_get_numbers_and_errors(rows: list[Row]) -> None:
    records = records_of(rows, "f1")
    assert records["F1"] == [0.3, 0.4, 0.35, None]
    assert records["error"] == ["", "", "", "ValueError: a | b"]
    assert records["found"] == [False, True, False, False]


def test_what_is_said_of_a_run() -> None:
    assert said_of(job(0, "8").run).startswith(
        "F1 0.400, perplexity 8.50, qa200 correct 30, adapter MB 4.80, tokens/s 140"
    )
    assert said_of(job(0, "8", "FAILED").run) == ""


def test_numbers_make_lines_and_words_places(rows: list[Row], tmp_path: Path) -> None:
    figure = against_swept(rows, "f1")
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [panel.get_ylabel() for panel in panels] == ["F1", "qa200 correct", "adapter MB", "tokens/s"]
    (line,) = panels[0].get_lines()
    assert list(line.get_xdata()) == [4, 8, 16]
    assert list(line.get_ydata()) == [0.3, 0.4, 0.35]
    assert line.get_linestyle() == "-"
    assert save(figure, tmp_path / "a.png").stat().st_size > 10_000
    words = [job(n, "4", further=(f"quantization={kind}",)) for n, kind in enumerate(("none", "nf4"))]
    figure = against_swept(rows_of(sweep_of("f1", "quantization"), words), "f1")
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["none", "nf4"]
    assert figure.axes[0].get_lines()[0].get_linestyle() == "None"


def test_other_keys_make_a_line_each() -> None:
    grid = [job(n, rank, further=(f"peft.use_rslora={on}",)) for n, (rank, on) in enumerate(
        (rank, on) for rank in ("4", "8") for on in ("false", "true"))]  # fmt: skip
    figure = against_swept(rows_of(sweep_of("f1", "peft.r", "peft.use_rslora"), grid), "f1")
    assert figure is not None
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["use_rslora=false", "use_rslora=true"]


def test_a_search_makes_dots_by_each_key() -> None:
    trials = [job(n, "4", further=(f"optim.lr={1e-4 * 1.4**n}", f"peft.dropout={n / 100}")) for n in range(9)]
    figure = against_swept(rows_of(sweep_of("ppl", "optim.lr", "peft.dropout"), trials), "ppl")
    assert figure is not None
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["optim.lr", "peft.dropout"]
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_lines()[0].get_linestyle() == "None"
    assert len(figure.axes) == 8


def test_costs_are_joined_along_the_front(rows: list[Row]) -> None:
    figure = against_costs(rows, "f1")
    assert figure is not None
    assert [axes.get_xlabel() for axes in figure.axes] == ["adapter MB", "fit s", "tokens/s"]
    joined = figure.axes[0].get_lines()[0]
    assert list(joined.get_xdata()) == [2.4, 4.8]
    assert [text.get_text() for text in figure.axes[0].texts] == ["r=4", "r=8"]


def test_nothing_finished_nothing_drawn(rows: list[Row]) -> None:
    assert against_swept(rows[3:], "f1") is None
    assert against_costs(rows[3:], "f1") is None
    assert against_swept(rows[:1], "f1") is None  # one value is no axis
    assert against_swept([], "f1") is None
