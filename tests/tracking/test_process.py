"""Runs of dead processes are told from those of living ones."""

import os
import subprocess
import sys

from wikillama.tracking.process import is_gone, this_process


def test_this_process_is_there_and_stays_the_same() -> None:
    assert this_process() == this_process()
    assert not is_gone(this_process())


def test_a_process_that_ended_is_gone_also_as_a_zombie() -> None:
    script = "from wikillama.tracking.process import this_process; print(this_process())"
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    process = other.stdout.readline().strip()
    assert str(other.pid) in process.split()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has asked how
    assert is_gone(process)
    other.communicate()
    assert is_gone(process)


def test_a_number_that_was_given_again_is_another_process() -> None:
    host, pid, born = this_process().split()
    assert is_gone(f"{host} {pid} {int(born) - 1000}")


def test_nothing_is_known_of_other_machines_and_of_runs_without_a_process() -> None:
    assert not is_gone("elsewhere 1 1")
    assert not is_gone("")
