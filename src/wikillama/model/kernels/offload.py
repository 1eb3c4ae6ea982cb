"""Keeps layers' inputs in page-locked memory of the host between forward and backward pass.

The copies run beside the computation, on a stream of their own; unsloth showed that they cost next to nothing
(unslothai/unsloth, gradient checkpointing "unsloth").
"""

import torch
from torch import Tensor


class Shelf:
    """Holds one tensor a layer. They are taken in the reverse order in which they were put."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._host: dict[int, Tensor] = {}
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._ahead: dict[int, tuple[Tensor, torch.cuda.Event]] = {}

    def put(self, number: int, x: Tensor) -> None:
        """Start to copy `x` away. The caller may let go of it at once."""
        host = self._host.get(number)
        if host is None or host.numel() < x.numel() or host.dtype != x.dtype:
            host = torch.empty(x.numel(), dtype=x.dtype, pin_memory=True)
            self._host[number] = host
        self._shapes[number] = tuple(x.shape)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            host[: x.numel()].copy_(x.view(-1), non_blocking=True)
        x.record_stream(self._stream)

    def take(self, number: int) -> Tensor:
        """The tensor of a layer, on the device; that of the layer before it is fetched meanwhile."""
        if number not in self._ahead:
            self._fetch(number)
        x, arrived = self._ahead.pop(number)
        torch.cuda.current_stream().wait_event(arrived)
        x.record_stream(torch.cuda.current_stream())
        del self._shapes[number]
        if number - 1 in self._shapes:
            self._fetch(number - 1)
        return x

    def _fetch(self, number: int) -> None:
        shape, host = self._shapes[number], self._host[number]
        with torch.cuda.stream(self._stream):
            x = torch.empty(shape, dtype=host.dtype, device=torch.cuda.current_device())
            x.copy_(host[: x.numel()].view(shape), non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        self._ahead[number] = x, arrived
