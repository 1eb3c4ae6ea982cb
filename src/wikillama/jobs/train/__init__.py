"""The main job: `job` tells the story, the other modules are its stages."""

from wikillama.jobs.train.job import train
from wikillama.jobs.train.summary import Trained

__all__ = ["Trained", "train"]
