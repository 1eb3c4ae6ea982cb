"""The adapter folder as an MLflow model of chat: `mlflow.pyfunc.load_model(...).predict`, `mlflow models serve`.

`describe` puts an `MLmodel` file beside PEFT's files, which stay as PEFT and vLLM read them. MLflow then loads the
folder by `_load_pyfunc` below: nothing is pickled, and no base weights are stored.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, Object, Property

from wikillama.errors import InputError
from wikillama.generation.bot import Bot
from wikillama.generation.streaming import ReplyStream
from wikillama.model.dense import dense_weights
from wikillama.tracking.completions import chunks, completion, read_request, start
from wikillama.tracking.loading import load_adapter

_NAME = "wikillama"  # a folder does not know under which name it is registered
_PACKAGES = ("wikillama", "mlflow", "torch", "transformers", "peft", "bitsandbytes")
# what `mlflow.pyfunc.load_model(uri, model_config={...})` and MLFLOW_PYFUNC_INFERENCE_CONFIG may change
_CONFIG = {"accelerator": "auto", "cache_dir": None, "base_path": None, "strict_base": True}  # of `load_adapter`
_EXAMPLE = {
    "messages": [{"role": "user", "content": "Do you know the Ford Mustang?"}],
    "knowledge": ["Ford began to build the Ford Mustang in 1964."],
    "max_tokens": 40,
}
_MESSAGE = Object([Property("role", DataType.string), Property("content", DataType.string)])
_INPUTS = Schema(
    [
        ColSpec(Array(_MESSAGE), "messages"),
        ColSpec(Array(DataType.string), "knowledge", required=False),
        ColSpec(DataType.string, "topic", required=False),
        ColSpec(DataType.long, "max_tokens", required=False),
        ColSpec(DataType.double, "temperature", required=False),
        ColSpec(DataType.double, "top_p", required=False),
        ColSpec(DataType.long, "seed", required=False),
    ]
)
_CHOICE = Object(
    [Property("index", DataType.long), Property("message", _MESSAGE), Property("finish_reason", DataType.string)]
)
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_OUTPUTS = Schema(
    [
        ColSpec(DataType.string, "id"),
        ColSpec(DataType.string, "object"),
        ColSpec(DataType.long, "created"),
        ColSpec(DataType.string, "model"),
        ColSpec(Array(_CHOICE), "choices"),
        ColSpec(Object([Property(name, DataType.long) for name in _COUNTS]), "usage"),
    ]
)


def describe(folder: Path) -> None:
    """Write `MLmodel`, an example and the requirements into an adapter folder."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    with tempfile.TemporaryDirectory() as temporary:
        described = Path(temporary) / "model"  # MLflow writes into empty folders only
        mlflow.pyfunc.save_model(
            described,
            loader_module=__name__,
            signature=ModelSignature(_INPUTS, _OUTPUTS),
            input_example=_EXAMPLE,
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _PACKAGES],
            model_config=dict(_CONFIG),
            metadata={"task": "llm/v1/chat"},
            streamable=True,
        )
        model = Model.load(described)
        model.model_size_bytes = size  # MLflow has seen the example only
        model.save(described / MLMODEL_FILE_NAME)
        shutil.copytree(described, folder, dirs_exist_ok=True)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> "ChatModel":
    """What MLflow calls with the folder that it has fetched."""
    return ChatModel(load_adapter(path, **(_CONFIG | (model_config or {}))))


class ChatModel:
    """A bot behind MLflow's interface, its 4-bit weights unpacked for as long as it lives."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self._unpacked = ExitStack()
        self._unpacked.enter_context(dense_weights(bot.model))

    def predict(self, model_input: Any) -> dict[str, Any] | list[dict[str, Any]]:
        """A chat completion for each row of a pandas DataFrame.

        MLflow makes a row of a single request, which gets a single completion.
        """
        replies = [self._reply(row) for row in model_input.to_dict("records")]
        return replies[0] if len(replies) == 1 else replies

    def predict_stream(self, model_input: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks of a completion as it is made."""
        with self._start(model_input) as stream:
            yield from chunks(_NAME, stream)

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        stream = self._start(request)
        text = "".join(stream)
        assert stream.stats is not None  # it came to its end
        return completion(_NAME, text, stream.stats)

    def _start(self, request: dict[str, Any]) -> ReplyStream:
        try:
            return start(self.bot, read_request(request))
        except InputError as error:  # what a server answers with status 400
            raise MlflowException.invalid_parameter_value(str(error)) from error
