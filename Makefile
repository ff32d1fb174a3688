# Every target is the only command to type: it sets up .venv first, and that is instant the second time.
#   make demo ARGS="..."   make test ARGS="-k losses"   PYTHON=/path/to/python3.12 make test

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -c constraints.txt
LIST := pyproject.toml constraints.txt
# The pins were made on 3.11, so that comes first.
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check docs experts metaworld clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

demo: $(VENV)/.runtime-stamp ## Run the demo: the whole pipeline in miniature
	@$(BIN)/trajtune demo $(ARGS)

# Many small tensors: more threads only get in each other's way.
test: export OMP_NUM_THREADS = 1
test: export MKL_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: $(VENV)/.dev-stamp ## Run the tests
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

check: $(VENV)/.dev-stamp ## Lint, format, types, layers
	@echo "Checking: ruff, ruff format, mypy, lint-imports"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "Not formatted: run $(BIN)/ruff format"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

docs: $(VENV)/.docs-stamp ## Build the documentation site into site/
	@$(BIN)/python -m mkdocs --quiet build --strict --clean
	@echo "The site is in site/: open site/index.html"

experts: $(VENV)/.experts-stamp ## Install what training new experts needs

metaworld: $(VENV)/.metaworld-stamp ## Install Meta-World, which its suites need

clean: ## Remove .venv and caches (never runs/ or data/)
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find trajtune tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@for p in $(PYTHONS); do \
	  if "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Creating $(VENV) with $$("$$p" --version)"; \
	    "$$p" -m venv $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "trajtune needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: python3-venv)," >&2; \
	echo "and none was found among: $(PYTHONS). Install one, or name it: make PYTHON=/path/to/python ..." >&2; \
	exit 1

$(VENV)/.runtime-stamp: $(LIST) | $(VENV)/.created
	@echo "Installing trajtune and what it runs on into $(VENV) (a few minutes, once)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev-stamp: $(LIST) | $(VENV)/.created
	@echo "Installing trajtune and its development tools into $(VENV) (a few minutes, once)"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.runtime-stamp

$(VENV)/.docs-stamp: $(LIST) | $(VENV)/.created
	@echo "Installing trajtune and what builds the documentation into $(VENV) (a few minutes, once)"
	@$(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.runtime-stamp

$(VENV)/.experts-stamp $(VENV)/.metaworld-stamp: $(VENV)/.%-stamp: $(LIST) | $(VENV)/.created
	@echo "Installing the $* extra into $(VENV) (a few minutes, once)"
	@$(PIP) -e '.[$*]'
	@touch $@ $(VENV)/.runtime-stamp
