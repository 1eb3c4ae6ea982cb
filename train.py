"""Fine-tune a base model on knowledge-grounded dialogues, score it before and after, register its adapter.

python train.py model=llama2_7b peft=qlora data.path=FOLDER
python train.py experiment=demo
python train.py -m experiment=demo peft.r=4,8,16,32
python train.py --help
"""

from wikillama.config import cli
from wikillama.config.rules import check_train
from wikillama.config.schema import TrainConfig
from wikillama.jobs.sweep.close import close_sweep


def main(cfg: TrainConfig) -> float | None:
    check_train(cfg)
    if cfg.dry_run:
        from wikillama.jobs.dry_run import dry_run

        dry_run(cfg)
        return None
    # torch and friends take seconds; a mistyped key should not
    from wikillama.jobs.sweep.job import run_in_sweep
    from wikillama.jobs.train import train

    return run_in_sweep(cfg, train)


if __name__ == "__main__":
    cli.run("train", TrainConfig, main, at_end=close_sweep)
