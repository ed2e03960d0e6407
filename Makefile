# Python 3.11–3.13, make and pip are all that is assumed: each command sets up .venv.
PYTHON ?= python3
BIN := .venv/bin
# Written last, so that an interrupted installation is not taken for a finished one.
READY := .venv/.ready
BENCH_READY := .venv-bench/.ready

define CHECK_PYTHON
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "Python 3.11, 3.12 or 3.13 is needed and '$(PYTHON)' is not one of them: name it, as in 'make report PYTHON=python3.12'."; \
	  exit 1; }
endef

.PHONY: help .venv report test lab refresh stability submission links picture bench

help: ## Show this list
	@sed -n 's/^\([.a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

.venv: $(READY) ## Create the environment alone

$(READY): requirements.txt requirements-dev.txt constraints.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements.txt -r requirements-dev.txt -c constraints.txt
	@# So that a plain 'jupyter nbconvert --to html' makes the offline pages too.
	mkdir -p .venv/etc/jupyter
	ln -sf ../../../tools/nbconvert_config.py .venv/etc/jupyter/jupyter_nbconvert_config.py
	touch $@

report: $(READY) ## Execute a copy of every notebook and export it to build/html/
	$(BIN)/python -m tools.report

test: $(READY) ## Check style, run the tests, re-run and compare every notebook
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest --nbval -n 2 --dist loadfile notebooks

lab: $(READY) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

refresh: $(READY) ## Re-execute notebooks in place (NOTEBOOKS="notebooks/03_….ipynb", else all)
	$(BIN)/python -m tools.refresh $(NOTEBOOKS)

stability: $(READY) ## Run the verdicts again with other seeds (FIRST_SEEDS="100 1000", NOTEBOOKS)
	$(BIN)/python -m tools.stability $(if $(FIRST_SEEDS),--first-seeds='$(FIRST_SEEDS)') $(NOTEBOOKS)

submission: $(READY) ## Merge 01 to 07 and 11 into one executed notebook (DATE=20_November)
	$(BIN)/python -m tools.submission '$(DATE)'

links: $(READY) ## Write links to Colab and the address of the copy on GitHub (REPO=owner/name)
	$(BIN)/python -m tools.links '$(REPO)'

picture: $(READY) ## Photograph the report's first page for README (needs Chromium)
	$(BIN)/python -m tools.picture

bench: $(BENCH_READY) ## Time the trainer against its peers (.venv-bench, 8 minutes): plots/bench/
	.venv-bench/bin/python -m tools.bench

$(BENCH_READY): requirements.txt requirements-bench.txt constraints.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements-bench.txt -c constraints.txt
	touch $@
