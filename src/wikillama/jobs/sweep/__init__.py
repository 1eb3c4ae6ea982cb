"""Sweeps: `callback` is called by Hydra, `job` by each job, `close` at the end; the rest is what they show."""
