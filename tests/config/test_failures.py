"""Failures of many processes, and the exit code that they make."""

import subprocess
import sys

import pytest

from wikillama.config.failures import Failure, collected, common, exit_code, job_name, note, noted

THEIRS = """
from wikillama.config.failures import Failure, note
for number in range(50):
    note(Failure(f"job {number}", 1, "x" * 1000))
"""


@pytest.mark.parametrize(
    ("codes", "expected"), [([], 0), ([2], 2), ([2, 2], 2), ([1], 1), ([2, 1], 1), ([2, 130], 130), ([1, 130], 130)]
)
def test_exit_code(codes: list[int], expected: int) -> None:
    assert exit_code([Failure("", code, "") for code in codes]) == expected


def test_processes_note_their_failures_together() -> None:
    with collected():
        assert noted() == []
        others = [subprocess.Popen([sys.executable, "-c", THEIRS]) for _ in range(3)]
        mine = note(Failure("mine", 2, "wrong\N{EN DASH}key"))
        assert [other.wait() for other in others] == [0, 0, 0]
        found = noted()
    assert mine in found
    assert sorted(failure.job for failure in found if failure != mine) == sorted(
        f"job {n}" for n in range(50) for _ in "abc"
    )
    with collected():
        assert noted() == []


def test_a_job_is_called_by_what_sets_it_apart() -> None:
    given = common(["-m", "experiment=demo", "peft.r=2,4", "trainer.progress_bar=false", "data.path=/a:b"])
    job = ["experiment=demo", "peft.r=2", "trainer.progress_bar=False", "data.path=/a\\:b"]
    assert job_name(job, given) == "peft.r=2"
    assert job_name(["experiment=demo"], given) == "job"
