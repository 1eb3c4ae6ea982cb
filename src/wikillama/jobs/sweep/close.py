"""The end of a sweep, whole or broken off. Imported by every job: what takes long to import is so only when needed."""

from wikillama.config.failures import INTERRUPTED, USER
from wikillama.jobs.sweep import state


def close_sweep(code: int) -> None:
    """Close the sweep that this process has opened, if any, for the exit code that it came to; print its table."""
    sweep = state.opened.get()
    if sweep is None:
        return
    state.opened.set(None)
    from wikillama.jobs.sweep.report import report
    from wikillama.tracking.run import open_client
    from wikillama.tracking.sweeps import close_children, swept_jobs

    client = open_client(sweep.tracking.uri)
    close_children(client, sweep.parent, "interrupted" if code == INTERRUPTED else "the sweep ended before it")
    jobs = swept_jobs(client, sweep.parent)
    if not jobs and code == USER:  # a mistyped key, say: nothing was tried, and nothing is worth a record
        client.delete_run(sweep.parent)
        return
    client.set_terminated(sweep.parent, {0: "FINISHED", INTERRUPTED: "KILLED"}.get(code, "FAILED"))
    report(client, sweep, jobs)
