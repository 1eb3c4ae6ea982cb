"""The LightningModule, its callbacks, and the fit."""
