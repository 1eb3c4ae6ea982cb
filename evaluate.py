"""Compare systems on the same questions or held-out turns; or score a file of replies; or calibrate a judge.

python evaluate.py systems='[base,models:/wiki-llama@candidate]' suite=qa200
python evaluate.py systems='[runs:/<id>/adapter]' suite=wow_mini_unseen knowledge=none
python evaluate.py --help
"""

from wikillama.config import cli
from wikillama.config.rules import check_evaluate
from wikillama.config.schema import EvaluateConfig


def main(cfg: EvaluateConfig) -> None:
    check_evaluate(cfg)
    # torch and friends take seconds; a mistyped key should not
    if cfg.predictions is not None:
        from wikillama.jobs.score_file import score_file

        score_file(cfg)
    elif cfg.calibrate:
        from wikillama.jobs.calibrate import calibrate_judge

        calibrate_judge(cfg)
    else:
        from wikillama.jobs.evaluate import evaluate

        evaluate(cfg)


if __name__ == "__main__":
    cli.run("evaluate", EvaluateConfig, main)
