"""The fused QLoRA step: hand-derived autograd over a whole decoder layer, and the kernels under it."""
