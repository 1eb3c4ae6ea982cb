"""Score systems on the same held-out turns: loss, perplexity, F1, knowledge-F1, side by side.

python evaluate.py systems='[base,models:/wiki-llama@candidate]' suite=wow_mini_seen
python evaluate.py systems='[runs:/<id>/adapter]' suite=wow_mini_unseen knowledge=none
python evaluate.py --help
"""

from wikillama.config import cli
from wikillama.config.rules import check_evaluate
from wikillama.config.schema import EvaluateConfig


def main(cfg: EvaluateConfig) -> None:
    check_evaluate(cfg)
    from wikillama.jobs.evaluate import evaluate  # torch and friends take seconds; a mistyped key should not

    evaluate(cfg)


if __name__ == "__main__":
    cli.run("evaluate", EvaluateConfig, main)
