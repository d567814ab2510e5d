# Copyright (c) The mmlcr authors. All rights reserved.
# "make help" lists the targets. PYTHON=... chooses the interpreter.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := .venv/bin
# environments are made: with the tested versions, and with the oldest
NEWEST := .venv/.installed
OLDEST := .venv-oldest/.installed

CONFIG := configs/lcr_motion.py
WORK_DIR := work_dirs/lcr_motion
TRAINED := $(WORK_DIR)/.trained
# the shell finds the newest checkpoint when a recipe asks for it
BEST = $$(ls -t $(WORK_DIR)/best_acc_top1_epoch_*.pth | head -n 1)
HELD_OUT := data/motion/videos/test/clockwise_0000.mp4
# tests of the equations, without kernels to compile and other programs
FAST := tests/layers tests/ops $(filter-out %_finite.py %_internals.py \
	%_interop.py %_interop_training.py,$(wildcard tests/models/test_*.py))

.DEFAULT_GOAL := help
.PHONY: help setup motion demo page test test-fast test-long test-oldest fuzz
.PHONY: docs lint clean
# settings of other runs must not turn the demo to other data
unexport LCR_DATA_ROOT LCR_FOLD LCR_NUM_CLASSES

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(NEWEST) ## make .venv with the tested versions and mmlcr

$(NEWEST) $(OLDEST): requirements/tested.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(@D)
	echo $(filter %.txt,$^) | xargs -n 1 $(@D)/bin/python -m pip install -r
	$(@D)/bin/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

# put over the tested versions, which stay where it names no other
$(OLDEST): requirements/oldest.txt

motion: | setup ## render the motion set in data/motion, once
	$(BIN)/mmlcr motion

$(TRAINED): | motion
	$(BIN)/mmlcr train $(CONFIG) --seed 0 --resume
	touch $@

demo: $(TRAINED) ## train on the motion set, once; test; draw and stream a clip
	$(BIN)/mmlcr test $(CONFIG) $(BEST)
	$(BIN)/mmlcr visualize $(CONFIG) $(BEST) $(HELD_OUT) \
		--out $(WORK_DIR)/demo.png --video $(WORK_DIR)/demo.mp4
	$(BIN)/mmlcr stream $(CONFIG) $(BEST) $(HELD_OUT) --topk 1

page: $(TRAINED) ## serve the page, with the model of the demo
	$(BIN)/mmlcr page $(CONFIG) $(BEST)

test: $(NEWEST) ## run the tests, two at a time
test-fast: $(NEWEST) ## run those of ops, layers and models, in two minutes
test-long: $(NEWEST) ## run those that take longest, which "test" leaves out
test-oldest: $(OLDEST) ## run the tests with the oldest supported versions
test-fast: CHOICE := -m 'not slow and not long' $(FAST)
test-long: CHOICE := -m long
test test-fast test-long test-oldest:
	OMP_NUM_THREADS=1 $(<D)/bin/python -m pytest -n 2 --dist loadgroup $(CHOICE)

fuzz: | setup ## read thousands of bad lists, images, videos and checkpoints
	$(BIN)/python tests/fuzz/fuzz.py --seed 0 --inputs 300 \
		--keep work_dirs/fuzz

lint: | setup ## run the checkers; none changes a file
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/docformatter --check --diff -r mmlcr mmlcr_cli tools tests setup.py
	$(BIN)/mypy

docs: | setup ## build the pages in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

clean: ## remove environments, caches and builds; data and work_dirs stay
	rm -rf .venv .venv-oldest build dist *.egg-info docs/_build docs/generated
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find mmlcr mmlcr_cli tools configs tests -name __pycache__ -prune -exec rm -rf {} +
