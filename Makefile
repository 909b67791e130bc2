# Every target sets up what it needs, once, in .venv. Start with: make demo
PYTHON ?= python3
BIN := .venv/bin
META := settings.ini setup.py pyproject.toml
# Modules are compiled when they are first imported: most never are, and compiling all 20,000 takes two minutes.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input --no-compile
# The older way of editable installs: Python started in the folder above a checkout named dcacn_nb finds the package.
EDITABLE := --config-settings editable_mode=compat -e
# Two processor threads unless told otherwise.
export OMP_NUM_THREADS ?= 2
# Beside a browser, threads that wait had better sleep, but not at once: training has many waits that end within a moment.
lab test: export GOMP_SPINCOUNT ?= 30000
ROOT_FLAG := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)

.PHONY: help demo lab test coverage quick drill bench bench-scale export readme docs fresh js clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 13

demo: .venv/.setup-core ## cluster images in a terminal, from start to report
	$(BIN)/dcacn demo $(DEMO_ARGS)

lab: export JUPYTER_CONFIG_PATH := $(CURDIR)/tools/jupyter$(if $(JUPYTER_CONFIG_PATH),:$(JUPYTER_CONFIG_PATH))
lab: .venv/.setup-lab ## open the course in JupyterLab
	$(BIN)/jupyter lab $(ROOT_FLAG) --ServerApp.root_dir="$(CURDIR)" $(LAB_ARGS) nbs/course/01_quickstart.ipynb

# Two tests at a time, a thread each: those without a browser, then those with one; last those that watch the clock, alone.
test: .venv/.setup-dev ## every notebook and test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not browser" -n 2 --durations=15
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser -m "browser and not alone" -n 2 --durations=5
	$(BIN)/python -m pytest tests/browser -m alone --durations=5

# Not in `make test`: counting lines takes a third more processor time.
coverage: .venv/.setup-dev ## the tests without a browser, and which lines they reach
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not browser" -n 2 --cov=dcacn_nb --cov-fail-under=90

QUICK := $(addprefix tests/,core clusters data baselines/test_registry.py test_layers.py test_package.py test_docs.py test_notebooks.py)
# For the inner loop: style, floors, types, fast tests, two notebooks; under a minute on two cores.
quick: .venv/.setup-dev ## what most mistakes fail, in under a minute
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow and not browser and not alone" $(QUICK)

# Kills, full disks, damaged files, strangers' pictures: about 25 minutes; Linux only. DRILL_ARGS="--only fuzz --seed 3"
drill: .venv/.setup-dev ## attack everything; then writes benchmarks/drills.csv and RELIABILITY.md
	PYTHONPATH=tools $(BIN)/python -m drills --write $(DRILL_ARGS)

# End to end, views and losses against others, and beside a busy program: about ten minutes, on an otherwise quiet machine.
bench: .venv/.setup-dev ## measure side by side; then writes benchmarks/*.csv and docs/benchmarks.md
	$(BIN)/python benchmarks/side_by_side.py $(BENCH_ARGS)

# SCALE_ARGS="--only stream --sizes 1000,10000". A million images take about an hour and 10 GB of disk; Linux only.
bench-scale: .venv/.setup-dev ## time and memory up to a million images; then writes benchmarks/scale.csv and SCALE.md
	$(BIN)/python benchmarks/scale.py $(SCALE_ARGS)

export: .venv/.setup-dev ## notebooks to modules, and notebooks without noise
	$(BIN)/python tools/export.py
	$(BIN)/nbdev-clean

# Cells tagged `hide` or starting with `#| hide` stay out; links are made relative to the root instead of nbs/.
readme: .venv/.setup-dev ## README.md from nbs/index.ipynb
	$(BIN)/jupyter nbconvert --log-level=WARN --to markdown --output-dir . --output README \
	  --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_cell_tags='["hide"]' \
	  --RegexRemovePreprocessor.patterns='#\| *hide' nbs/index.ipynb
	sed -E -e 's#\]\((course|method|baselines|heads|images)#](nbs/\1#g' -e 's#\]\(\.\./#](#g' README.md > .README.tmp
	mv .README.tmp README.md

docs: .venv/.setup-dev ## the documentation site, in _docs/site; needs no network, and fails at a dead link
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/python docs/build.py

js: node_modules/.installed ## check the widgets' JavaScript: linter and types (needs Node.js and npm)
	npm run --silent lint
	npm run --silent types

node_modules/.installed: package.json
	npm install --no-package-lock --no-audit --no-fund
	@touch $@

fresh: ## fail if modules, notebooks or README are not what the notebooks make
	$(MAKE) export readme
	git diff --exit-code -- nbs dcacn_nb README.md
	test -z "$$(git ls-files --others --exclude-standard -- nbs dcacn_nb README.md README_files)"

clean: ## remove what was built (.venv, data and runs stay)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .coverage .coverage.* htmlcov artifacts _proc _docs .README.tmp dcacn_nb/_modidx.py nbs/llms.txt
	find dcacn_nb nbs tests -name __pycache__ -prune -exec rm -rf {} +
	find nbs -name .ipynb_checkpoints -prune -exec rm -rf {} +

.venv/.created:
	@$(PYTHON) -c 'import sys; v = "%d.%d" % sys.version_info[:2]; sys.exit(0 if sys.version_info >= (3, 10) else "dcacn_nb needs Python 3.10 or newer, but $(PYTHON) is " + v + "; try: make PYTHON=python3.12 ...")'
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv || { echo "No virtual environment could be made; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

.venv/.setup-core: .venv/.created $(META)
	@echo "Setting up .venv; PyTorch is large: the first time takes several minutes."
	$(PIP) $(EDITABLE) '.[compare,photos]'
	@touch $@

.venv/.setup-lab: .venv/.setup-core
	$(PIP) $(EDITABLE) '.[lab,slurm]'
	@touch $@

.venv/.setup-dev: .venv/.created $(META)
	@echo "Setting up .venv for development; PyTorch is large: the first time takes several minutes."
	$(PIP) $(EDITABLE) '.[dev]'
	@touch $@ .venv/.setup-core .venv/.setup-lab
