"""train.py as a user meets it: bad input is one line and exit code 2, long before torch is imported."""

import subprocess
import sys

import pytest
from one_process import Command, Done, run_all

from wikillama.config.paths import CONF

BAD = {
    "foo=1": "foo",
    "+peft.foo=1": "peft.foo",
    "seed=abc": "seed",
    "peft=qlora quantization=none data=wow_mini": "quantization=none",
    "peft=none quantization=nf4 data=wow_mini": "quantization=nf4",
    "peft.r=0": "peft.r=0",
    "data=wow_mini data.max_length=-5": "data.max_length=-5",
    "data=wow data.path=/nope": "data.path=/nope",
    "data=wow data.url=null": "data.path",
    "data=jsonl data.train=/nope": "data.train=/nope",
    "data=wow_mini model.path=/nope": "model.path=/nope",
    "model=nope": "model/nope",
    "data=wow_mini optim=paged_adamw_8bit trainer=cpu": "optim=paged_adamw_8bit",
}


GOOD = [  # what needs torch comes last
    "--help",
    "--cfg job peft.r=7",
    "model=llama2_7b peft=qlora dry_run=true data=wow_mini",
    "experiment=paper_qlora dry_run=true data=wow_mini",
]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """How train.py ended by what it was given."""
    folder = tmp_path_factory.mktemp("train")
    given = (*BAD, *GOOD)
    commands = [Command("train.py", overrides.split()) for overrides in given]
    return dict(zip(given, run_all(commands, folder, f"hydra.run.dir={folder / 'out'}"), strict=True))


@pytest.mark.parametrize(("overrides", "key"), BAD.items(), ids=BAD)
def test_bad_input_is_one_line_and_code_2(train: dict[str, Done], overrides: str, key: str) -> None:
    done = train[overrides]
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert key in line
    assert "Traceback" not in done.stderr
    assert done.imported == []


def test_a_good_configuration_is_checked_without_torch() -> None:
    script = """
import sys
from hydra import compose, initialize_config_dir
from wikillama.config import cli, paths, rules, schema
cli.register_resolvers()
with initialize_config_dir(str(paths.CONF), version_base="1.3"):
    cfg = cli.validate(compose("train", ["experiment=demo"]), schema.TrainConfig)
rules.check_train(cfg)
heavy = {"torch", "transformers", "lightning", "mlflow", "peft"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_shows_groups_choices_and_keys(train: dict[str, Done]) -> None:
    done = train["--help"]
    assert (done.returncode, done.stderr) == (0, "")
    for group in ("model", "data", "knowledge", "prompt", "packing", "peft", "quantization", "experiment"):
        choices = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        assert f"{group}: {', '.join(choices)}" in done.stdout
    assert "max_length: 1024" in done.stdout


def test_cfg_job_shows_the_composed_job(train: dict[str, Done]) -> None:
    done = train["--cfg job peft.r=7"]
    assert (done.returncode, done.stderr) == (0, "")
    assert "peft:\n  method: qlora\n  r: 7\n" in done.stdout
    assert done.imported == []


@pytest.mark.parametrize(
    ("overrides", "parameters", "size"),
    [("model=llama2_7b peft=qlora", "29,982,720", "60.0 MB"), ("experiment=paper_qlora", "33,554,432", "67.1 MB")],
)
def test_dry_run_counts_what_would_be_trained(
    train: dict[str, Done], overrides: str, parameters: str, size: str
) -> None:
    done = train[f"{overrides} dry_run=true data=wow_mini"]
    assert done.returncode == 0, done.stderr
    assert parameters in done.stdout
    assert size in done.stdout
