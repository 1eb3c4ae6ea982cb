"""Which process a run lives in, so that runs which a dead one left open can be told from those still at work."""

import os
import socket

import psutil

PROCESS = "wikillama.process"  # tag of a run
_SECONDS = 2  # by which the system's notion of a process's birth may move with its clock


def this_process() -> str:
    """Host, number and birth of this process: told apart even when its number is given to another."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def is_gone(process: str) -> bool:
    """Whether a process of this machine has ended; of other machines nothing is known."""
    host, _, rest = process.partition(" ")
    if host != socket.gethostname():
        return False
    pid, _, born = rest.partition(" ")
    try:
        there = psutil.Process(int(pid))
        other = abs(there.create_time() - float(born)) > _SECONDS
        return bool(other or there.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
