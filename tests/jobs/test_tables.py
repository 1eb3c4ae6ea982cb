"""The tables of answers at the end of a job."""

import io

from rich.console import Console

from wikillama.evaluation.results import Answer, Costs, Evaluation, SystemResult
from wikillama.jobs.tables import counts_table


def shown(*seconds: float | None) -> list[str]:
    """The lines of systems that gave one correct answer each, and took so long for a reply."""
    answer = Answer("tea-001", "tea", "Hot?", "Yes.", (), "Yes.", "correct", 1.0, "accepted")
    systems = tuple(SystemResult(f"s{i}", Costs("two cores", reply_s=s), (answer,)) for i, s in enumerate(seconds))
    out = io.StringIO()
    Console(file=out, width=120).print(counts_table(Evaluation("qa200", "gold", "lexical-1", systems, {})))
    return out.getvalue().splitlines()


def test_systems_are_counted_and_timed() -> None:
    lines = shown(1.234, None)
    assert "s a reply" in lines[2]
    assert [cell.strip() for cell in lines[4].split("│")[1:-1]] == ["s0", "1", "0", "0", "1.000 [0.207, 1.000]", "1.23"]
    assert [cell.strip() for cell in lines[5].split("│")[1:-1]][-1] == ""


def test_times_that_nobody_took_have_no_column() -> None:
    lines = shown(None, None)
    assert not any("s a reply" in line for line in lines)
    assert [cell.strip() for cell in lines[5].split("│")[1:-1]] == ["s1", "1", "0", "0", "1.000 [0.207, 1.000]"]
