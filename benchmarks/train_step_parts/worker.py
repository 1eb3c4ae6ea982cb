"""A process that holds one stack and trains when it is told to; train_step.py starts it, nobody else should.

It reads a job a line from stdin and answers with a line of JSON. What libraries print goes to stderr.
"""

import argparse
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from train_step_parts.failures import breaks_device, reason
from train_step_parts.timing import Ceiling, Job, Place, Stack
from train_step_parts.work import LLAMA2_7B, TINY, make_model
from wikillama.tracking.facts import hardware


def open_stack(name: str, checkpointing: str, place: Place) -> Stack:
    """Load a stack's model. `checkpointing` matters to unsloth alone, which decides on it when it patches the model."""
    if name == "unsloth":
        from train_step_parts.peers import Unsloth

        return Unsloth(place, checkpointing)
    if name in ("peft", "trl"):
        from train_step_parts.peers import Peft, Trl

        return Peft(place) if name == "peft" else Trl(place)
    if name == "ceiling":
        return Ceiling(place)
    from train_step_parts.ours import Ours

    return Ours(place, name)


def serve(stack: Stack, jobs: Iterable[str], say: Callable[[dict[str, Any]], None], device: torch.device) -> None:
    """Answer a job a line, until there are no more.

    Where a turn leaves the device unusable, its answer says that the process `ends` here: a fresh one can go on.
    """
    for line in jobs:
        answer = _answer(stack, Job(*json.loads(line)))
        if "ends" not in answer:
            answer = _tidied(device) | answer
        say(answer)
        if "ends" in answer:
            return


def _answer(stack: Stack, job: Job) -> dict[str, Any]:
    try:
        return stack.turn(job)
    except Exception as error:  # not kept: it holds on to the frames, and so to memory
        traceback.print_exc()
        return {"error": reason(error)} | ({"ends": True} if breaks_device(error) else {})


def _tidied(device: torch.device) -> dict[str, Any]:
    """Give memory back; what is to be answered where the device no longer lets itself be used."""
    gc.collect()
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.empty_cache()
    except Exception as error:
        traceback.print_exc()
        return {"error": reason(error), "ends": True}
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack")
    parser.add_argument("--checkpointing", default="none")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--examples", type=int, default=28)
    arguments = parser.parse_args()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print; answers go elsewhere

    def say(answer: dict[str, Any]) -> None:
        channel.write(json.dumps(answer) + "\n")
        channel.flush()

    shape, device = TINY if arguments.tiny else LLAMA2_7B, torch.device(arguments.device)
    if device.type == "cuda":
        device = torch.device("cuda", 0)
    place = Place(arguments.folder, device, shape["vocab_size"], arguments.rank, arguments.examples)
    try:
        if arguments.stack == "make":
            make_model(place.folder, shape, device)
            say({"hardware": hardware(), "cuda": torch.version.cuda})
            return
        stack = open_stack(arguments.stack, arguments.checkpointing, place)
    except BaseException as error:
        traceback.print_exc()
        say({"error": reason(error)})
        return
    say({"ready": True})
    serve(stack, iter(sys.stdin.readline, ""), say, device)


if __name__ == "__main__":
    main()
