"""Compare runs: configuration, scores and costs side by side, and which differences are more than chance.

python compare.py runs='[ID,ID]'
python compare.py parent=ID
python compare.py --help
"""

from wikillama.config import cli
from wikillama.config.compare import CompareConfig, check_compare


def main(cfg: CompareConfig) -> None:
    check_compare(cfg)
    from wikillama.jobs.compare import compare  # MLflow and torch take seconds; a mistyped key should not

    compare(cfg)


if __name__ == "__main__":
    cli.run("compare", CompareConfig, main)
