"""Metrics of replies and of likelihood."""
