"""Rows of train_step.py's record, and the Markdown table made of them."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from train_step_parts.timing import KEEP

PEERS = ("peft", "trl", "unsloth")
Row = dict[str, Any]


def row(stack: str, setting: str, checkpointing: str, turns: Sequence[dict[str, Any]]) -> Row:
    """A row of the record from a stack's turns under one setting; rates are medians over all steps."""
    seconds, tokens, real = ([value for turn in turns for value in turn[key]] for key in ("seconds", "tokens", "real"))
    return {
        "stack": stack,
        "setting": setting,
        "checkpointing": checkpointing,
        "tokens_per_s": round(median(n / s for n, s in zip(tokens, seconds, strict=True)), 1),
        "real_tokens_per_s": round(median(n / s for n, s in zip(real, seconds, strict=True)), 1),
        "peak_gb": round(max(turn["peak_gb"] for turn in turns), 3),
        "step_ms": round(median(seconds) * 1e3, 2),
        "step_ms_min": round(min(seconds) * 1e3, 2),
        "step_ms_max": round(max(seconds) * 1e3, 2),
        "steps": len(seconds),
        "tokens_per_step": round(median(tokens)),
        "real_tokens_per_step": round(median(real)),
        "batches": turns[0]["how"],
        "first_loss": turns[0]["first_loss"],
    }


def compared(rows: Sequence[Row], ceiling_tflops: float | None, flops_per_token: float) -> list[Row]:
    """The rows, each with its share of the ceiling and its ratios to peers."""
    done = [r for r in rows if "error" not in r]
    return [_compared(r, done, ceiling_tflops, flops_per_token) if "error" not in r else r for r in rows]


def _compared(row: Row, done: Sequence[Row], ceiling: float | None, flops: float) -> Row:
    tflops = row["real_tokens_per_s"] * flops / 1e12
    against = {}
    for peer in PEERS:
        other = None if peer == row["stack"] else match(row, peer, done)
        if other is not None:
            against[peer] = {
                "speed": round(row["real_tokens_per_s"] / other["real_tokens_per_s"], 3),
                "memory": round(row["peak_gb"] / other["peak_gb"], 3),
                "setting": other["setting"],
                "checkpointing": other["checkpointing"],
            }
    return {
        **row,
        "model_tflops": round(tflops, 4),
        "share_of_ceiling": round(tflops / ceiling, 4) if ceiling else None,
        "against": against,
    }


def match(row: Row, peer: str, done: Sequence[Row]) -> Row | None:
    """The fastest row of a peer for the same work: the same setting, and activations kept by both or by neither.

    A peer that was only run on ragged batches stands for packed ones, too: the dialogues are of the same kind.
    """
    theirs = [r for r in done if r["stack"] == peer and (r["checkpointing"] == KEEP) == (row["checkpointing"] == KEEP)]
    same = [r for r in theirs if r["setting"] == row["setting"]]
    if not same and not any(r["stack"] == peer and r["setting"] == row["setting"] for r in done):
        same = [r for r in theirs if r["setting"] == "ragged"]
    return max(same, key=lambda r: float(r["real_tokens_per_s"]), default=None)


def markdown(record: dict[str, Any]) -> str:
    """The record as one table, with what it says of itself before it."""
    ceiling = record["ceiling"]
    head = [
        f"Training step, {record['weights']}; {record.get('hardware', 'unknown hardware')}, {record['date'][:10]}.",
        "",
        "Real tokens are no padding. Ratios are of real tokens a second and of peak memory, to the peer's "
        "fastest row of the same setting, activations kept by both or by neither; * to its row of ragged batches.",
        "",
    ]
    if ceiling["tflops"]:
        gflops = record["flops_per_token"] / 1e9
        head += [
            f"Ceiling: {ceiling['dtype']} product of {ceiling['size']} cubed, {ceiling['tflops']:,.1f} TFLOP/s; "
            f"{gflops:,.3g} GFLOP are counted for a real token.",
            "",
        ]
    names = [
        "stack",
        "setting",
        "batches",
        "activations",
        "real tokens/s",
        "tokens/s",
        "peak GB",
        "step ms (min to max)",
    ]
    names += ["of ceiling", *(f"x {peer}" for peer in PEERS)]
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join(["---"] * len(names)) + " |"]
    lines += ["| " + " | ".join(_cells(r)) + " |" for r in record["rows"] if "error" not in r]
    failed = [r for r in record["rows"] if "error" in r or "cut_off" in r]
    if failed:
        lines += ["", "Not measured, or not in all rounds:", ""]
        reasons = (r.get("error") or r["cut_off"] for r in failed)
        lines += [
            f"- {r['stack']}, {r['setting']}, {r['checkpointing']}: {why}"
            for r, why in zip(failed, reasons, strict=True)
        ]
    return "\n".join([*head, *lines]) + "\n"


def _cells(row: Row) -> list[str]:
    kept = "kept" if row["checkpointing"] == KEEP else row["checkpointing"]
    share = f"{row['share_of_ceiling']:.1%}" if row["share_of_ceiling"] else ""
    spread = f"{row['step_ms']:,.1f} ({row['step_ms_min']:,.1f} to {row['step_ms_max']:,.1f})"
    cells = [row["stack"], row["setting"], row["batches"], kept, f"{row['real_tokens_per_s']:,.0f}"]
    cells += [f"{row['tokens_per_s']:,.0f}", f"{row['peak_gb']:.2f}", spread, share]
    for peer in PEERS:
        ratio = row["against"].get(peer)
        star = "*" if ratio and ratio["setting"] != row["setting"] else ""
        cells.append(f"{ratio['speed']:.2f} ({ratio['memory']:.2f} GB/GB){star}" if ratio else "")
    return cells
