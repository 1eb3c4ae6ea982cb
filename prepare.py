"""Bring a corpus from raw files to the cache that training reads, and say what came out; or check it.

python prepare.py data=wow model=llama2_7b
python prepare.py data=wow_mini check=true
python prepare.py --help
"""

from wikillama.config import cli
from wikillama.config.rules import check_prepare
from wikillama.config.schema import PrepareConfig


def main(cfg: PrepareConfig) -> None:
    check_prepare(cfg)
    from wikillama.jobs.prepare import run

    run(cfg)


if __name__ == "__main__":
    cli.run("prepare", PrepareConfig, main)
