"""Read a corpus, ground, format and encode it, and say what came out.

python prepare.py data=wow_mini
python prepare.py data=wow data.path=FOLDER model=llama2_7b
python prepare.py --help
"""

from wikillama.config import cli
from wikillama.config.rules import check_prepare
from wikillama.config.schema import PrepareConfig


def main(cfg: PrepareConfig) -> None:
    check_prepare(cfg)
    from wikillama.jobs.prepare import prepare

    prepare(cfg)


if __name__ == "__main__":
    cli.run("prepare", PrepareConfig, main)
