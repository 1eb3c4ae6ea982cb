"""What went wrong in a turn, and whether its process can go on."""

import torch

LONGEST_REASON = 200  # characters
OF_THE_DEVICE = ("CUDA error", "Error [CUDA]", "CUDA driver error")  # torch and its libraries, Triton, cuBLAS


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:LONGEST_REASON]


def breaks_device(error: BaseException) -> bool:
    """Whether the process cannot use the device any more: an illegal memory access, an assertion there, and the like.

    Running out of memory leaves the device as it was.
    """
    said = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in said:
        return False
    return isinstance(error, torch.AcceleratorError) or any(sign in said for sign in OF_THE_DEVICE)
