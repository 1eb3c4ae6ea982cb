"""Measures what a person in a conversation waits for: the first token, the whole reply, and other people's replies.

python benchmarks/chat_latency.py                      SmolLM2-135M in NF4 without an adapter, prompts of 600 tokens
python benchmarks/chat_latency.py adapter=models:/wiki-llama@candidate    overrides of chat.py
python benchmarks/chat_latency.py --record FILE.json   where the record goes

Each reply is asked of the same path as the page's: history and knowledge are put into the prompt, the reply is
streamed. `first_token_s` counts from the asking to the first piece of text. Then twenty people ask at once: how long
the last one waits, and the process's memory after each round.
"""

import argparse
import json
import os
import statistics
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wikillama.config import cli

cli.share_cores()  # as chat.py does, before torch is loaded

import psutil  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402

from wikillama.chat.systems import Speaker, Systems  # noqa: E402
from wikillama.config.chat import ChatConfig  # noqa: E402
from wikillama.config.paths import CONF, ROOT  # noqa: E402
from wikillama.jobs.console import quiet_libraries  # noqa: E402
from wikillama.tracking.facts import code_tags, environment_tags  # noqa: E402

PROMPT = 600  # tokens
PEOPLE, ROUNDS = 20, 3
TALK = [
    "Have you ever been to the Alps? I would like to walk there, from hut to hut, for a week or two in summer.",
    "I have read a lot about them. The Alps stretch across eight countries, and the highest summit is Mont Blanc.",
    "Eight countries? I could name five at most. Which part would you take for a first walk, with children along?",
]
FACT = "The Alps are the highest mountain range that lies entirely in Europe, and stretch for some 1,200 kilometres."


def prompt_of(speaker: Speaker, tokens: int) -> tuple[list[str], list[str]]:
    """A conversation and knowledge that make a prompt of so many tokens, or a few more."""
    facts = [FACT]
    while asked(speaker, TALK, facts, max_new_tokens=1)["prompt_tokens"] < tokens:
        facts.append(f"{len(facts)} {FACT}")
    return TALK, facts


def asked(speaker: Speaker, talk: list[str], facts: list[str], **given: Any) -> dict[str, Any]:
    began = time.perf_counter()
    stream = speaker.stream(talk, facts, **given)
    first = None
    for piece in stream:
        if piece and first is None:
            first = time.perf_counter() - began
    took, stats = time.perf_counter() - began, stream.stats
    if stats is None:
        raise SystemExit("a reply was given up")
    return {
        "prompt_tokens": stats.prompt_tokens,
        "tokens": stats.tokens,
        "first_token_s": first or stats.first_token_s,
        "reply_s": took,
        "tokens_per_s": stats.tokens_per_s,
    }


def at_once(speaker: Speaker) -> dict[str, Any]:
    """Seconds until the last of many people has a reply of at most 24 tokens, and memory after each round."""
    seconds, memory = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        threads = [
            threading.Thread(
                target=asked, args=(speaker, [f"Number {n}: {TALK[0]}"], [FACT]), kwargs={"max_new_tokens": 24}
            )
            for n in range(PEOPLE)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds.append(round(time.perf_counter() - began, 2))
        memory.append(round(psutil.Process().memory_info().rss / 1e6, 1))
    return {"people": PEOPLE, "seconds_a_round": seconds, "rss_mb_after_a_round": memory}


def spread(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    values = [row[key] for row in rows]
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=[])
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "records" / "chat_latency.json")
    arguments = parser.parse_args()
    quiet_libraries()
    cli.register_resolvers()
    overrides = ["adapter=base", "quantization=nf4", *arguments.overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = cli.validate(compose("chat", overrides), ChatConfig)
    load = os.getloadavg()
    systems = Systems(cfg)
    began = time.perf_counter()
    speaker = systems.speaker(cfg.adapter)
    asked(speaker, ["Hello!"], [], max_new_tokens=2)  # loads, and warms up
    loaded = time.perf_counter() - began
    talk, facts = prompt_of(speaker, PROMPT)
    rows = [asked(speaker, talk, facts, max_new_tokens=48) for _ in range(arguments.times)]
    record = {
        "what": "seconds that a person waits for a streamed reply, and twenty people at once",
        "command": " ".join(["python benchmarks/chat_latency.py", *arguments.overrides]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": cfg.adapter,
        "model": cfg.model.name,
        "quantization": cfg.quantization.type,
        "load_s": round(loaded, 2),
        "prompt_tokens": rows[0]["prompt_tokens"],
        "replies": len(rows),
        **{key: spread(rows, key) for key in ("first_token_s", "reply_s", "tokens_per_s", "tokens")},
        "at_once": at_once(speaker),
        "load_average": {"before": load, "after": os.getloadavg()},
        **code_tags(),
        **environment_tags(),
    }
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
