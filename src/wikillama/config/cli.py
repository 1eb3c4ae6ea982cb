"""Runs an entry script: Hydra composes, the schema checks, the job runs, and every end has its exit code.

Exit codes: 0 done, 1 failed while running, 2 bad configuration or input (one line on stderr), 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import NoReturn, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wikillama.config import failures
from wikillama.config.failures import Failure
from wikillama.config.paths import CONF, ROOT, without_secrets
from wikillama.config.plugins import prefer_own_choices
from wikillama.config.schema import Section, direction
from wikillama.errors import InputError

Config = TypeVar("Config", bound=Section)
_NO_TRIAL = "No trials are completed"  # Optuna's ValueError at the end of a search whose jobs have all failed


def register_resolvers() -> None:
    """What configs may call: `${root:}`, the checkout, so that a run does not depend on the working directory, and
    `${direction:OBJECTIVE}`, so that a search goes where its objective gets better."""
    OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)
    OmegaConf.register_new_resolver("direction", direction, replace=True)


def share_cores() -> None:
    """Let OpenMP's threads wait without spinning; has an effect before torch is loaded only.

    Spinning threads slow every other program on the same cores, and its threads ours: measured, by a factor of three
    with two busy programs on two cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def validate(raw: DictConfig, schema: type[Config]) -> Config:
    """Check a composed config against `schema`. Raises InputError that names each wrong key."""
    try:
        return schema.model_validate(OmegaConf.to_container(raw, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise InputError(f"config: {error}") from error
    except ValidationError as error:
        raise InputError("config: " + "; ".join(_one_problem(e) for e in error.errors())) from error


def _one_problem(error: ErrorDetails) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in ("list[str]", "literal['all-linear']"))
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if error["type"] == "missing":
        return f"{where}: missing"
    return f"{where}={error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def run(
    config_name: str,
    schema: type[Config],
    job: Callable[[Config], object],
    at_end: Callable[[int], None] | None = None,
) -> None:
    """Run `job` on each configuration that the command line asks for, then exit.

    A job that fails says so in its own line; under `-m` the others still run, and the failures are listed at the end.
    `at_end` is called with the exit code, also of a sweep that was broken off. What `job` returns is what a search by
    `hydra/sweeper` goes by.
    """
    share_cores()
    full_errors = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing pages, and the line is ours to write
    register_resolvers()
    prefer_own_choices()
    with failures.collected():
        task = update_wrapper(partial(_task, schema, job, failures.common(sys.argv[1:]), full_errors), _task)
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(task)()
        except BrokenPipeError:  # `| head` has seen enough; nothing is left to say, not even at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            failures.note(Failure("", failures.INTERRUPTED, "interrupted"))
        except SystemExit as ended:  # by `stop`, after --help, or a library within a job wants it so
            if ended.code:
                failures.note(Failure("", ended.code if isinstance(ended.code, int) else failures.OURS, "ended"))
        except Exception as error:
            if not (failures.noted() and str(error).startswith(_NO_TRIAL)):
                failures.note(report(error, full_errors))
        found = failures.noted()
    code = failures.exit_code(found)
    _list([failure for failure in found if failure.job])
    if at_end is not None:
        at_end(code)
    sys.exit(code)


def _task(
    schema: type[Config], job: Callable[[Config], object], given: frozenset[str], full_errors: bool, raw: DictConfig
) -> object:
    """One job, in whatever process: what it returns, or the Failure that it came to."""
    try:
        return job(validate(raw, schema))
    except Exception as error:
        swept = HydraConfig.get().mode == RunMode.MULTIRUN
        name = failures.job_name(HydraConfig.get().overrides.task, given) if swept else ""
        return failures.note(report(error, full_errors, name))


def _list(failed: list[Failure]) -> None:
    """The jobs of a sweep that failed, a line each."""
    if failed:
        print(f"failed, {len(failed)} of the sweep's jobs:", file=sys.stderr)
    for failure in failed:
        print(f"  {failure.job}: {failure.error}", file=sys.stderr)


def stop(error: Exception) -> NoReturn:
    """End the program with an error that arises where Hydra would swallow it, such as in a callback."""
    raise SystemExit(report(error, full_errors=False).code)


def report(error: Exception, full_errors: bool, job: str = "") -> Failure:
    """Say what went wrong: one line for what the user can mend, a traceback for what we must."""
    user_error = isinstance(error, InputError | HydraException | OmegaConfBaseException)
    if full_errors or not user_error:
        print(without_secrets("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    cause = f" ({error.__cause__})" if user_error and not isinstance(error, InputError) and error.__cause__ else ""
    line = without_secrets(" ".join(f"{error}{cause}".split()))
    if user_error:
        print(f"error: {line}", file=sys.stderr)
        return Failure(job, failures.USER, line)
    return Failure(job, failures.OURS, f"{type(error).__name__}: {line}")
