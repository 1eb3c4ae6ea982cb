"""The judge that a configuration names."""

from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from wikillama.config.schema import JudgeConfig
from wikillama.errors import InputError
from wikillama.evaluation.judging.groundedness import GroundednessJudge
from wikillama.evaluation.judging.lexical import LexicalJudge
from wikillama.evaluation.judging.llm import ChatJudge, LocalJudge
from wikillama.evaluation.judging.verdict import Judge, ReplyJudge


def answer_judge(judge: JudgeConfig, under_test: tuple[str, ...]) -> Judge:
    """The judge of answers to questions; people (`human`) are asked in the MLflow UI, not here."""
    return LexicalJudge() if judge.kind in ("lexical", "human") else _model_judge(judge, under_test)


def reply_judge(judge: JudgeConfig) -> ReplyJudge:
    """The judge of whether a reply is borne out by its knowledge. Raises InputError for people, who cannot be run."""
    if judge.kind == "human":
        raise InputError("calibrate=true compares a judge with people: use judge=lexical|chat|local")
    return GroundednessJudge() if judge.kind == "lexical" else _model_judge(judge, ())


def _model_judge(judge: JudgeConfig, under_test: tuple[str, ...]) -> ChatJudge | LocalJudge:
    assert judge.model is not None  # `config.rules.check_judge` saw to it
    if judge.kind == "chat":
        assert judge.url is not None
        return ChatJudge(judge.url, judge.model, under_test, judge.key_variable)
    folder = Path(judge.model).expanduser()
    try:
        model = AutoModelForCausalLM.from_pretrained(str(folder), use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise InputError(f"judge.model={judge.model}: cannot be loaded ({str(error).splitlines()[0]})") from error
    return LocalJudge(model.eval(), tokenizer, folder.name, under_test, judge.orders)
