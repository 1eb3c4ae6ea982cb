"""Replies from any (base, adapter)."""
