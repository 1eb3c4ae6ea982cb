"""One thread: the matrices are small, and a second one would only wait."""

import torch

torch.set_num_threads(1)
