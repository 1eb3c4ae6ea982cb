"""Automatic judges: triage and a second opinion beside human labels, never in place of them."""
