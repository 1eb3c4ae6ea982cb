"""Language models as judges: any OpenAI-compatible server, or a local causal language model.

Neither may judge itself, since models prefer their own text. Gate their use on calibration (`calibrate`): of small
models, most are no better than chance.
"""

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import permutations
from typing import Literal
from urllib.parse import urlsplit

import requests
import torch
from requests.auth import AuthBase
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from wikillama.errors import InputError
from wikillama.evaluation.judging.prompts import Prompt, question_prompt, reply_prompt
from wikillama.evaluation.judging.verdict import LABELS, Label, Verdict
from wikillama.evaluation.questions import Question

_SCORES: dict[Label, float] = {"correct": 1.0, "ambiguous": 0.5, "wrong": 0.0}
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)  # and all of 500 and above
_LONGEST_WAIT = 30.0  # seconds, whatever the server asks for


def refuse_self_judging(judge: str, under_test: Iterable[str]) -> None:
    """Raise InputError where a judge is one of the systems under test: compared without owner and case."""
    for system in under_test:
        if _bare_name(judge) == _bare_name(system):
            raise InputError(f"judge {judge}: it is the system under test ({system}); choose another model as judge")


@dataclass(frozen=True, slots=True)
class ChatJudge:
    """A model behind an OpenAI-compatible chat completions URL, at temperature 0.

    `url` is the base ("http://localhost:8000/v1") or the full address. `key_variable` names the environment variable
    that holds the key, for servers that want one; the key itself is read at each request and kept nowhere.
    Raises InputError where the judge is under test, the key is not set, or the server cannot be used.
    """

    url: str = field(repr=False)  # it may hold a password
    model: str
    under_test: tuple[str, ...]
    key_variable: str | None = None
    timeout: float = 60.0  # seconds, for connecting and for each wait for bytes
    retries: int = 3
    pause: float = 1.0  # seconds before the first retry, doubled each time

    def __post_init__(self) -> None:
        refuse_self_judging(self.model, self.under_test)
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise InputError("the judge's url does not begin with http:// or https://; give its chat completions URL")
        self._auth()

    @property
    def name(self) -> str:
        return f"chat:{self.model}"

    def judge(self, question: Question, answer: str) -> Verdict:
        return self._ask(question_prompt(question, answer))

    def judge_reply(self, history: Sequence[str], knowledge: Sequence[str], reply: str) -> Verdict:
        return self._ask(reply_prompt(history, knowledge, reply))

    def _ask(self, prompt: Prompt) -> Verdict:
        return parse_label(self._complete(prompt))

    def _complete(self, prompt: Prompt) -> str:
        asked = {
            "model": self.model,
            "temperature": 0,
            "max_tokens": 16,
            "messages": [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": prompt.data},
            ],
        }
        where = f"judge {self.model} at {urlsplit(self.url).hostname}"  # and no more of the URL
        problem, wait = "", 0.0
        for attempt in range(self.retries + 1):
            time.sleep(wait)
            wait = self.pause * 2**attempt
            try:
                response = requests.post(
                    _completions(self.url), json=asked, timeout=self.timeout, auth=self._auth(), allow_redirects=False
                )
            except requests.RequestException as error:
                problem = type(error).__name__
                continue
            if response.status_code in _TRY_AGAIN or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                problem = f"HTTP {response.status_code}"
                after = response.headers.get("Retry-After", "")
                wait = min(float(after), _LONGEST_WAIT) if after.isdigit() else wait
                continue
            if response.status_code != HTTPStatus.OK:  # its text may repeat the key
                raise InputError(f"{where}: HTTP {response.status_code}; check url, model name and key")
            try:
                return str(response.json()["choices"][0]["message"]["content"])
            except (ValueError, LookupError, TypeError) as error:
                raise InputError(f"{where}: not a chat completion; give an OpenAI-compatible URL") from error
        raise InputError(f"{where}: no answer in {self.retries + 1} attempts ({problem}); check that it runs")

    def _auth(self) -> "_Bearer | None":
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise InputError(f"the judge's key: environment variable {self.key_variable} is not set; set it")
        return _Bearer(key)


@dataclass(frozen=True, slots=True)
class LocalJudge:
    """A causal language model, by how likely it finds each label after the prompt.

    The prompt is plain text, which base and chat models both continue. `identity` names the model as `under_test`
    names systems. Raises InputError where it is one of them, or a prompt is longer than the model can read.
    """

    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    identity: str
    under_test: tuple[str, ...]
    orders: Literal["permutations", "rotations"] = "permutations"

    def __post_init__(self) -> None:
        refuse_self_judging(self.identity, self.under_test)

    @property
    def name(self) -> str:
        return f"local:{self.identity}"

    def judge(self, question: Question, answer: str) -> Verdict:
        return self._mean([question_prompt(question, answer, order) for order in label_orders(self.orders)])

    def judge_reply(self, history: Sequence[str], knowledge: Sequence[str], reply: str) -> Verdict:
        return self._mean([reply_prompt(history, knowledge, reply, order) for order in label_orders(self.orders)])

    def _mean(self, prompts: Sequence[Prompt]) -> Verdict:
        each = [label_probabilities(self.model, self.tokenizer, prompt.text) for prompt in prompts]
        mean = {label: sum(p[label] for p in each) / len(each) for label in LABELS}
        best = max(LABELS, key=mean.__getitem__)
        told = ", ".join(f"{label} {mean[label]:.3f}" for label in LABELS)
        return Verdict(best, min(mean["correct"], 1.0), f"{told}: mean over {len(each)} orders of the labels")


def label_orders(orders: Literal["permutations", "rotations"]) -> list[tuple[Label, ...]]:
    """All six orders of the three labels, or the three in which each label stands once in each place."""
    if orders == "permutations":
        return list(permutations(LABELS))
    return [(*LABELS[start:], *LABELS[:start]) for start in range(len(LABELS))]


def label_probabilities(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> dict[Label, float]:
    """How the model shares its belief among the three label words, as what follows the prompt.

    A label's likelihood is that of all its tokens. Control tokens that the prompt spells out are read as text.
    """

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, split_special_tokens=True)["input_ids"])  # type: ignore[arg-type]

    rows = [encode(f"{prompt} {label.upper()}") for label in LABELS]
    start = min(_shared_start(row, encode(prompt)) for row in rows)  # the space before a label may belong to its token
    longest = max(map(len, rows))
    limit = getattr(model.config, "max_position_embeddings", longest)
    if longest > limit:
        raise InputError(f"a judge's prompt of {longest} tokens: the model reads {limit}; choose one that reads more")
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])  # behind a causal mask, padding is unseen
    with torch.inference_mode():
        kept = longest - start + 1
        output = model(input_ids=ids.to(model.device), logits_to_keep=kept)
    logs = output.logits.float().log_softmax(-1).cpu()
    totals = torch.stack([
        logs[n, torch.arange(len(row) - start), row[start:]].sum() for n, row in enumerate(rows)
    ])  # fmt: skip
    return dict(zip(LABELS, totals.softmax(0).tolist(), strict=True))


def parse_label(text: str) -> Verdict:
    """The one label that a model's words name; "ambiguous" where they name none, several, or what it is not."""
    said = re.sub(r"(?s)<think>.*?(?:</think>|$)", "", text)
    named = {word.lower() for word in re.findall(r"\b(?:not )?(?:correct|wrong|ambiguous)\b", said, re.IGNORECASE)}
    if len(named) != 1 or not named & set(LABELS):
        return Verdict("ambiguous", 0.5, f"unparsed: {said.strip()[:80]!r}")
    label = next(label for label in LABELS if label in named)
    return Verdict(label, _SCORES[label], f"said: {label.upper()}")


class _Bearer(AuthBase):
    """As `auth` and not as a header, which requests would replace by what ~/.netrc has for the host."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _completions(url: str) -> str:
    bare = url.rstrip("/")
    return bare if bare.endswith("/chat/completions") else f"{bare}/chat/completions"


def _bare_name(model: str) -> str:
    return model.strip().rstrip("/").rpartition("/")[2].casefold()


def _shared_start(row: Sequence[int], prompt: Sequence[int]) -> int:
    for place, (a, b) in enumerate(zip(row, prompt, strict=False)):
        if a != b:
            return place
    return min(len(row), len(prompt))
