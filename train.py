"""Fine-tune a base model on knowledge-grounded dialogues, score it before and after, register its adapter.

python train.py model=llama2_7b peft=qlora data.path=FOLDER
python train.py experiment=demo
python train.py --help
"""

from wikillama.config import cli
from wikillama.config.rules import check_train
from wikillama.config.schema import TrainConfig


def main(cfg: TrainConfig) -> None:
    check_train(cfg)
    if cfg.dry_run:
        from wikillama.jobs.dry_run import dry_run

        dry_run(cfg)
        return
    from wikillama.jobs.train import train  # torch and friends take seconds; a mistyped key should not

    train(cfg)


if __name__ == "__main__":
    cli.run("train", TrainConfig, main)
