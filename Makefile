# Needs Python >= 3.11, make, a C++ compiler and a package registry; everything else is put into the virtual
# environment. `make PYTHON=python3.12 test` takes another Python, in an environment of its own.

PYTHON ?= python3
VENV ?= .venv$(if $(filter command,$(firstword $(origin PYTHON))),-$(notdir $(PYTHON)))
RUN := $(VENV)/bin
PIP := $(RUN)/python -m pip --disable-pip-version-check
# npm and what it starts find node beside it, in the virtual environment
NPM := PATH="$(CURDIR)/$(RUN):$$PATH" npm --prefix js

DISPLAYED := $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname)))
LAB_FLAGS := $(if $(DISPLAYED),,--no-browser) $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help demo test dev lint ruff mypy biome tsc test-js test-py pictures bench bench-ui soak fuzz clean front-end browser
.NOTPARALLEL:

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo front-end ## Open the quickstart in JupyterLab
	$(RUN)/jupyter lab --log-level=WARN --notebook-dir=notebooks \
		--LabApp.default_url=/lab/tree/quickstart.ipynb $(LAB_FLAGS) $(ARGS)

test: $(VENV)/.dev browser ## Run every check and every test
	@$(MAKE) --keep-going --no-print-directory lint test-js test-py

lint: ruff mypy biome tsc ## Run the linters and the type checks

ruff: $(VENV)/.dev
	$(RUN)/ruff check
	$(RUN)/ruff format --check

mypy: $(VENV)/.dev
	$(RUN)/mypy

biome: $(VENV)/.dev front-end
	$(NPM) run lint

tsc: $(VENV)/.dev front-end
	$(NPM) run check

test-js: $(VENV)/.dev front-end ## Run the front end's tests
	$(NPM) run test

test-py: $(VENV)/.dev front-end ## Run pytest; ARGS="-k fork" chooses
	$(RUN)/python -m pytest $(ARGS)

dev: $(VENV)/.dev front-end ## Rebuild the front end on every change
	$(NPM) run dev

pictures: $(VENV)/.dev front-end browser ## Take the README's pictures anew
	$(RUN)/python -m tests.browser.pictures

bench: $(VENV)/.bench front-end ## Run the benchmarks and print their table
	$(RUN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.demo ## Two hours of use in ten minutes; ARGS="--minutes 1" for less
	$(RUN)/python -m benchmarks.soak $(ARGS)

bench-ui: $(VENV)/.dev front-end browser ## Measure the text view beside a plain page
	$(RUN)/python -m benchmarks.ui $(ARGS)

fuzz: $(VENV)/.dev ## Try thousands of broken model files; ARGS="--count 300 --seed 7"
	$(RUN)/python -m tests.fuzz $(ARGS)

clean: ## Remove everything that was made
	rm -rf .venv .venv-* build dist js/node_modules inferno_widget/static .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Builds only what is older than its sources; whoever asks for it asks for an environment first.
front-end:
	@$(RUN)/python hatch_build.py

browser: | $(VENV)/.dev
	@$(RUN)/python tests/browser/chromium.py

$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"  # the first that knows dependency groups
	@touch $@

$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: pyproject.toml hatch_build.py | $(VENV)/.pip
	$(PIP) install --quiet --group $* --editable ".[all]"
	@touch $@

# The browser tests run on a second ipykernel too: one package, put before the first on its kernel's path.
$(VENV)/.dev: $(VENV)/ipykernel-7.3
$(VENV)/ipykernel-7.3: | $(VENV)/.pip
	$(PIP) install --quiet --no-deps --target $@ "ipykernel==7.3.*"
