# Two commands do everything on a fresh machine that has Python >= 3.11, make and git:
#   make demo   segment real images that installed packages carry, and draw the results
#   make test   run the tests that take no long time; `make check` runs all
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
OUTPUT ?= demo-output
# Several processes share the cores: threads of their own would only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint check miniature clean

help:
	@echo "make demo    segment real images and draw the results, in $(OUTPUT)/"
	@echo "make test    run the tests but the slow ones"
	@echo "make test-slow   run the slow ones: exports, trainings, originals beside ours"
	@echo "make lint    ruff, mypy and import-linter"
	@echo "make check   lint and all tests: what has to pass before a commit"
	@echo "make miniature   train the default model's network in miniature, on synthetic pictures, in a few minutes"
	@echo "make clean   remove $(VENV) and caches"

demo: $(VENV)/.installed-demo
	$(BIN)/samaritan demo --output $(OUTPUT)

test: $(VENV)/.installed-dev
	$(PYTEST) -m 'not slow'

test-slow: $(VENV)/.installed-dev
	$(PYTEST) -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test test-slow

miniature: $(VENV)/.installed-dev
	rm -rf runs/miniature
	$(BIN)/python -m training.tiny.miniature --out runs/miniature

clean:
	rm -rf $(VENV) $(OUTPUT) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamps live in the environment, so that they go when it goes, and an environment made by other means has none.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); Samaritan needs Python 3.11 or newer." >&2; \
	  echo "       Name another one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing Samaritan into $(VENV): the first time, this takes a minute or two"
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt requirements-parity.txt
	@echo "Installing Samaritan and its tools into $(VENV): the first time, this takes some minutes"
	$(PIP) --editable '.[dev]'
	SAM2_BUILD_CUDA=0 $(PIP) --no-deps --requirement requirements-parity.txt
	@touch $@ $(VENV)/.installed-demo
