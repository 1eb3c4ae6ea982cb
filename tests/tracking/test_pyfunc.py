"""The adapter as an MLflow model: loaded and served by MLflow alone, in processes that know nothing of this one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import requests
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from peft import PeftModel
from servers import free_port

from wikillama.generation.bot import Bot
from wikillama.model.base import load_base
from wikillama.model.recipe import read_recipe
from wikillama.tracking.loading import load_adapter
from wikillama.tracking.pyfunc import describe
from wikillama.tracking.registry import register
from wikillama.tracking.run import tracked_run

HISTORY = ["Do you like cars?"]
KNOWLEDGE = ["Cars have wheels."]
REQUEST: dict[str, Any] = {
    "messages": [{"role": "user", "content": HISTORY[0]}],
    "knowledge": KNOWLEDGE,
    "topic": "Cars",
    "max_tokens": 40,
}
URI = "models:/talking@champion"
FRESH = """
import json, sys, mlflow
model = mlflow.pyfunc.load_model(sys.argv[1], model_config={"accelerator": "cpu"})
print(json.dumps([model.predict(json.loads(sys.argv[2])), list(model.predict_stream(json.loads(sys.argv[2])))]))
"""
_SECONDS = 180  # for a start, on a machine that others use as well


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("talking")


@pytest.fixture(scope="module")
def exported(compose: Callable[..., Any], folder: Path) -> Path:
    """An adapter over NF4 weights as train.py exports it."""
    from wikillama.jobs.train.export import export
    from wikillama.model.adapters import attach, trainable

    cfg = compose("model=tiny", "data=wow_mini", "trainer=cpu", "peft=qlora", "quantization=nf4", "data.max_length=512")
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
    model = attach(base.model, cfg.peft, base.id)
    for parameter in trainable(model).values():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.3
    return export(cfg, base, model, folder / "exported")


@pytest.fixture(scope="module")
def registered(job: Callable[..., Any], exported: Path, folder: Path) -> str:
    cfg = job("quantization=nf4")
    with tracked_run(cfg.tracking, cfg, folder) as run:
        run.artifacts(exported, "adapter")
    register(run, "talking", "champion", {})
    return run.id


@pytest.fixture(scope="module")
def bot(exported: Path) -> Bot:
    return load_adapter(str(exported), accelerator="cpu")


@pytest.fixture(scope="module")
def expected(bot: Bot) -> str:
    return bot.reply(HISTORY, KNOWLEDGE, "Cars", max_new_tokens=40)


@pytest.fixture(scope="module")
def elsewhere(store: str, folder: Path) -> dict[str, Any]:
    """How processes are started: in a folder of their own, which tells them of the store by MLflow's variable."""
    (folder / "elsewhere").mkdir()
    said = {"MLFLOW_TRACKING_URI": store, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # an environment that is activated
    return {"cwd": folder / "elsewhere", "env": os.environ | said | {"PATH": path}}


@pytest.fixture(scope="module")
def serving(registered: str, elsewhere: dict[str, Any], folder: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    """`mlflow models serve` on its way up: its address, and whether it is up."""
    port, log = free_port(), folder / "serve.log"
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", URI, "--env-manager", "local", "-p", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, **elsewhere, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

        def up() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(requests.ConnectionError):
                return requests.get(f"{url}/ping", timeout=5).ok
            return False

        try:
            yield url, up
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def test_a_fresh_process_replies_the_same(serving: Any, elsewhere: dict[str, Any], expected: str) -> None:
    command = [sys.executable, "-c", FRESH, URI, json.dumps(REQUEST)]
    done = subprocess.run(command, **elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, chunks = json.loads(done.stdout.splitlines()[-1])
    assert len(expected) > 5
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": expected}
    assert whole["usage"]["completion_tokens"] == 40
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == expected
    assert list(elsewhere["cwd"].iterdir()) == []  # no store was made there


def test_mlflow_serves_it(serving: Any, expected: str) -> None:
    served, up = serving
    end = time.monotonic() + _SECONDS
    while not up():
        assert time.monotonic() < end
        time.sleep(0.2)
    answer = requests.post(f"{served}/invocations", json=REQUEST, timeout=60)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["object"] == "chat.completion"
    assert said["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": expected}, "finish_reason": "length"}
    ]
    assert set(said["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    refused = requests.post(f"{served}/invocations", json={"messages": []}, timeout=60)
    assert refused.status_code == 400
    assert "messages: list should have at least 1 item" in refused.json()["message"]
    assert requests.post(f"{served}/invocations", json={"prompt": "Hi"}, timeout=60).status_code == 400


@pytest.fixture(scope="module")
def loaded(exported: Path) -> Any:
    return mlflow.pyfunc.load_model(str(exported), model_config={"accelerator": "cpu"})


def test_a_frame_of_requests_gets_a_list_of_completions(loaded: Any, bot: Bot) -> None:
    asked = [[{"role": "user", "content": text}] for text in ("One?", "Two?", "Three?")]
    frame = pd.DataFrame({"messages": asked, "max_tokens": [6, 7, 8]})
    found = loaded.predict(frame)
    assert [each["choices"][0]["message"]["content"] for each in found] == [
        bot.reply([messages[0]["content"]], max_new_tokens=6 + place) for place, messages in enumerate(asked)
    ]
    lone = loaded.predict(frame[:1])
    assert lone["choices"] == found[0]["choices"]
    assert lone["usage"]["completion_tokens"] == 6


def test_what_cannot_be_done_is_an_error_of_mlflow(loaded: Any) -> None:
    for request, reason in (
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "the last one must be the user's"),
        ({**REQUEST, "temperature": 9.0}, "temperature: input should be less than or equal to 2"),
        ({**REQUEST, "max_tokens": 9999}, "max_new_tokens=9999: give 1 to 1024"),
    ):
        with pytest.raises(MlflowException, match=reason) as caught:
            loaded.predict(request)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_4_bit_weights_stay_unpacked(loaded: Any) -> None:
    import bitsandbytes as bnb

    kinds = {type(module) for module in loaded._model_impl.bot.model.modules()}
    assert bnb.nn.Linear4bit not in kinds


def test_what_the_folder_says_of_itself(exported: Path) -> None:
    model = Model.load(exported)
    flavor = model.flavors["python_function"]
    assert flavor["loader_module"] == "wikillama.tracking.pyfunc"
    assert flavor["streamable"]
    assert model.metadata == {"task": "llm/v1/chat"}
    assert model.signature.inputs.required_input_names() == ["messages"]
    assert set(model.signature.inputs.optional_input_names()) >= {"knowledge", "topic", "max_tokens", "temperature"}
    weights = exported / "adapter_model.safetensors"
    assert weights.stat().st_size < model.model_size_bytes < weights.stat().st_size + 200_000
    requirements = (exported / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in requirements] == [
        "wikillama", "mlflow", "torch", "transformers", "peft", "bitsandbytes",
    ]  # fmt: skip
    assert not any("+" in line for line in requirements)
    said = "".join(file.read_text() for file in exported.iterdir() if file.suffix != ".safetensors")
    assert str(Path.home()) + "/" not in said
    assert [file.name for file in exported.iterdir() if file.suffix in (".pkl", ".bin", ".pt", ".py")] == []
    assert [file.name for file in exported.glob("*.safetensors")] == [weights.name]  # the base is not in it


def test_peft_reads_it_as_before(exported: Path, bot: Bot) -> None:
    recipe = read_recipe(exported)
    base = load_base(recipe.model, recipe.quantization, torch.device("cpu"), torch.float32, "~/.cache/wikillama")
    plain = PeftModel.from_pretrained(base.model, str(exported)).eval()
    ids = torch.arange(5, 105)[None]
    with torch.inference_mode():
        assert torch.equal(plain(ids).logits, bot.model(ids).logits)


def test_describing_again_changes_nothing_else(exported: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in exported.iterdir()}
    describe(exported)
    after = {file.name: file.read_bytes() for file in exported.iterdir()}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["MLmodel"]  # a time and an id
