# Python 3.11–3.13, make and pip are all that is assumed: each command sets up .venv.
# Its programs are run as `python -m`, for their scripts name the folder it was made in.
PYTHON ?= python3
BIN := .venv/bin
# Written last, so that an interrupted installation is not taken for a finished one.
READY := .venv/.ready
BENCH_READY := .venv-bench/.ready
OLDEST_READY := .venv-oldest/.ready
# Where the Python an environment was made with is gone, it is made anew.
.PHONY: $(foreach ready,$(wildcard $(READY) $(BENCH_READY) $(OLDEST_READY)),$(shell \
  $(dir $(ready))bin/python -c '' 2>/dev/null || echo $(ready)))
# Texts are UTF-8, whatever the terminal's language.
export PYTHONUTF8 := 1
# Caches would stand in the checkout, which may be read-only.
export RUFF_NO_CACHE := true
export MYPY_CACHE_DIR := /dev/null
# What readers may have set that would keep Python from `tools`, or pip from .venv.
unexport PYTHONSAFEPATH PYTHONIOENCODING PIP_TARGET PIP_PREFIX
export PIP_USER := 0

define CHECK_PYTHON
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "Python 3.11, 3.12 or 3.13 is needed and '$(PYTHON)' is not one of them: name it, as in 'make report PYTHON=python3.12'."; \
	  exit 1; }
endef

# uv, which pip brings, installs in a fifth of pip's time; where it cannot, pip does.
define INSTALL
	@test ! -L $(1) || { \
	  echo "$(1) is a link to an environment that is gone, or older than the requirements here: remove the link or, if it was made of the same ones, run 'touch $(1)/.ready'."; \
	  exit 1; }
	$(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv || true
	@$(1)/bin/python -m uv pip install --quiet --python $(1)/bin/python $(2) 2>/dev/null \
	  || $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2)
	@$(1)/bin/python -c 'import tqdm' 2>/dev/null || { \
	  echo "pip or uv installs elsewhere: take target and prefix out of pip.conf or uv.toml, then run again."; \
	  exit 1; }
endef

.NOTPARALLEL: # the tests time nothing, but the notebooks do
.PHONY: help .venv report playground test lint unit notebooks oldest portable lab \
  refresh replicate submission assignment grade feedback links picture bench

help: ## Show this list
	@sed -n 's/^\([.a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

.venv: $(READY) ## Create the environment alone

# Two first commands at once would clear the environment under each other: the second
# waits, and finds it made.
LOCK := $(shell command -v flock >/dev/null && echo flock .venv.lock)
$(READY): requirements.txt requirements-dev.txt requirements-cluster.txt constraints.txt
ifdef LOCKED
	$(CHECK_PYTHON)
	$(call INSTALL,.venv,-r requirements.txt -r requirements-dev.txt -c constraints.txt)
	@# So that a plain 'jupyter nbconvert --to html' makes the offline pages too.
	mkdir -p .venv/etc/jupyter
	ln -sf ../../../tools/nbconvert_config.py .venv/etc/jupyter/jupyter_nbconvert_config.py
	touch $@
else
	@test -w . || { \
	  echo "This checkout has no environment that works for you, and cannot be written to: copy it to a folder of yours, then run again."; \
	  exit 1; }
	@$(LOCK) $(MAKE) --silent --no-print-directory LOCKED=1 $@
endif

report: $(READY) ## Execute a copy of every notebook and export it to build/html/
	$(BIN)/python -m tools.report

playground: $(READY) ## Write the page that trains twins in the browser to build/html/
	$(BIN)/python -m tools.playground

test: lint unit notebooks ## Check style, run the tests, re-run and compare every notebook

lint: $(READY) ## Check the style of code and notebooks, and the types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

unit: $(READY) ## Run the tests of helpers, tools and repository
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 10 tests

notebooks: $(READY) ## Re-run every notebook and compare its outputs with those stored
	$(BIN)/python -m pytest --nbval -n 2 --dist loadfile --durations 10 notebooks

portable: $(READY) ## The same as on other processors and on one thread (an hour or two)
	$(BIN)/python -m tools.portable

oldest: $(OLDEST_READY) ## Test the helpers on the oldest versions that are allowed (.venv-oldest)
	.venv-oldest/bin/python -m pytest -n 2 --dist worksteal \
	  $$(grep -L '^from tools\|^from assignment' tests/test_*.py)

lab: $(READY) ## Open the notebooks in JupyterLab
	@# It wants a home to write to, which a container's user may not have.
	test -w "$$HOME" || export HOME="$$(mktemp -d)"; $(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

refresh: $(READY) ## Re-execute notebooks in place (NOTEBOOKS="notebooks/03_….ipynb", else all)
	$(BIN)/python -m tools.refresh $(NOTEBOOKS)

replicate: $(READY) ## Make what is missing of the record (REPLICATIONS="0-9", NOTEBOOKS, JOBS=1, SCHEDULER)
	$(BIN)/python -m tools.replicate --replications '$(or $(REPLICATIONS),0-9)' \
	  --jobs $(or $(JOBS),1) --scheduler '$(SCHEDULER)' $(NOTEBOOKS)

# A name may hold an apostrophe or a dollar: the shell is not to read it.
submission: export CHOSEN := $(value DATE)
submission: $(READY) ## Merge 01 to 07 and 11 into one executed notebook (DATE=20_November)
	$(BIN)/python -m tools.submission "$$CHOSEN"

assignment: $(READY) ## Make build/assignment.zip for students (DATA=1: with data), and the marking guide
	$(BIN)/python -m tools.marking
	$(BIN)/python -m tools.assignment $(if $(filter 1,$(DATA)),--data)

grade: export CHOSEN := $(value SUBMISSIONS)
grade: $(READY) ## Grade what students handed in (SUBMISSIONS=folder or zip, JOBS=2, TRUST=1)
	$(BIN)/python -m tools.grade $(if $(filter 1,$(TRUST)),--trust) --jobs $(or $(JOBS),2) -- "$$CHOSEN"

feedback: $(READY) ## Make students' pages and totals again, after essays.csv was filled in
	$(BIN)/python -m tools.feedback

links: export CHOSEN := $(value REPO)
links: $(READY) ## Write links to Colab and the address of the copy on GitHub (REPO=owner/name)
	$(BIN)/python -m tools.links "$$CHOSEN"

picture: $(READY) ## Photograph the report's first page for README (needs Chromium)
	$(BIN)/python -m tools.picture

bench: $(BENCH_READY) ## Time the trainer against its peers (.venv-bench, 15 to 25 minutes): plots/bench/
	.venv-bench/bin/python -m tools.bench

$(OLDEST_READY): requirements.txt requirements-dev.txt requirements-cluster.txt
	$(CHECK_PYTHON)
	@# An option of uv's: pip would refuse it.
	$(call INSTALL,.venv-oldest,--resolution lowest-direct -r requirements.txt -r requirements-dev.txt)
	touch $@

$(BENCH_READY): requirements.txt requirements-bench.txt constraints.txt
	$(CHECK_PYTHON)
	$(call INSTALL,.venv-bench,-r requirements-bench.txt -c constraints.txt)
	touch $@
