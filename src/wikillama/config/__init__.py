"""Typed configuration, checked before anything heavy is imported."""
