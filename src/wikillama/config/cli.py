"""Runs an entry script: Hydra composes, the schema checks, the job runs, and every end has its exit code.

Exit codes: 0 done, 1 failed while running, 2 bad configuration or input (one line on stderr), 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wikillama.config.paths import CONF, ROOT
from wikillama.config.schema import Section
from wikillama.errors import InputError

Config = TypeVar("Config", bound=Section)


def register_resolvers() -> None:
    """`${root:}` in a config is the checkout, so that a run does not depend on the working directory."""
    OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)


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


def run(config_name: str, schema: type[Config], job: Callable[[Config], None]) -> None:
    """Run `job` on each configuration that the command line asks for, then exit.

    A job that fails says so in its own line; under `-m` the others still run, and the worst exit code is given.
    """
    share_cores()
    full_errors = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing pages, and the line is ours to write
    register_resolvers()
    codes = [0]

    def task(raw: DictConfig) -> None:
        try:
            job(validate(raw, schema))
        except Exception as error:
            codes.append(_report(error, full_errors))

    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(task)()
    except BrokenPipeError:  # `| head` has seen enough; nothing is left to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        codes.append(130)
    except Exception as error:
        codes.append(_report(error, full_errors))
    sys.exit(max(codes))


def _report(error: Exception, full_errors: bool) -> int:
    """Say what went wrong: one line for what the user can mend, a traceback for what we must."""
    user_error = isinstance(error, InputError | HydraException | OmegaConfBaseException)
    if full_errors or not user_error:
        traceback.print_exception(error)
    if user_error:
        cause = f" ({error.__cause__})" if not isinstance(error, InputError) and error.__cause__ else ""
        print("error: " + " ".join(f"{error}{cause}".split()), file=sys.stderr)
    return 2 if user_error else 1
