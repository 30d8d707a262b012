# The developer's commands. Everything lives in .venv; stamp files in it make repeated runs quick.
#
#   make demo    a worker on SQLite does real work, in under a minute (installs the package alone)
#   make test    the whole test suite (installs what is missing, servers included when root); with PYTEST_ARGS=... those tests
#   make test-django  the tests of the Django integration alone: on Django 5.2, and on Django 6.1 with a Python >= 3.12
#   make soak    the long chaos tests: SOAK_SECONDS=120 for each, on each broker (1200 before a release)
#   make check   ruff, mypy, pyright, the layer test, the documentation
#   make docs    the documentation as HTML, in docs/_build/html
#   make bench   a short comparison with the peers whose environments exist (see bench/README.md)
#   make bench-all  all that docs/performance.md shows, in about half an hour, figures and plots written
#   make clean   remove everything that these commands made

VENV ?= .venv
PY := $(VENV)/bin/python
DJANGO6_VENV ?= .venv-django6
DJANGO6_PY := $(DJANGO6_VENV)/bin/python
JOBS ?= 4
PYTEST_ARGS ?=
SOAK_SECONDS ?= 120

.PHONY: help demo test test-django soak check style types layers format docs bench bench-all clean

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/.made: scripts/make-venv
	@scripts/make-venv $(VENV)
	@touch $@

$(VENV)/.package: pyproject.toml $(VENV)/.made
	@$(PY) -m pip install --quiet --editable .
	@touch $@

# --group needs pip 25.1; the pip that a fresh venv has may be older.
$(VENV)/.pip: $(VENV)/.made
	@$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.pip
	@echo "installing umbel and its development tools into $(VENV)"
	@$(PY) -m pip install --quiet --editable '.[all]' --group dev
	@touch $(VENV)/.package $@

$(DJANGO6_VENV)/.made: scripts/make-venv
	@scripts/make-venv $(DJANGO6_VENV) 12
	@touch $@

$(DJANGO6_VENV)/.dev: pyproject.toml $(DJANGO6_VENV)/.made
	@echo "installing umbel, Django 6.1 and what the tests need into $(DJANGO6_VENV)"
	@$(DJANGO6_PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@$(DJANGO6_PY) -m pip install --quiet --editable '.[all]' --group django6
	@touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.dev
	@$(PY) -m pip install --quiet --group docs
	@touch $@

demo: $(VENV)/.package
	@$(PY) -m umbel demo

# The tests marked "serial" measure time or memory: they run alone, after the others. One report of two runs.
ifeq ($(strip $(PYTEST_ARGS)),)
test: $(VENV)/.dev $(DJANGO6_VENV)/.dev
	@scripts/need-servers
	@status=0; scripts/run-tests $(PY) $(JOBS) || status=1; \
	scripts/run-django-tests $(JOBS) $(PY) $(DJANGO6_PY) || status=1; exit $$status
else
test: $(VENV)/.dev
	@scripts/need-servers
	@scripts/run-tests $(PY) $(JOBS) $(PYTEST_ARGS)
endif

test-django: $(VENV)/.dev $(DJANGO6_VENV)/.dev
	@scripts/need-servers
	@scripts/run-django-tests $(JOBS) $(PY) $(DJANGO6_PY)

# Their accounts (accepted / lost / duplicated / dead / time to recover) are shown whether they pass or not.
soak: $(VENV)/.dev
	@scripts/need-servers
	@SOAK_SECONDS=$(SOAK_SECONDS) $(PY) -m pytest -m soak -rP --timeout=0 $(PYTEST_ARGS)

# All of them, even when one fails: the first complaint is not the only one worth reading.
check: $(VENV)/.docs
	@$(MAKE) --no-print-directory --keep-going style types layers docs

style:
	$(PY) -m ruff check
	$(PY) -m ruff format --check

types:
	$(PY) -m mypy
	$(PY) -m pyright --pythonpath $(PY)

layers:
	$(PY) -m pytest -q tests/unit/test_layers.py

format: $(VENV)/.dev
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

docs: $(VENV)/.docs
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench:
	bench/setup_venvs.sh umbel celery
	python3 bench/compare.py --systems celery,umbel --scenarios drain,roundtrip,enqueue --repeat 3

# Started again with the same BENCH_RAW it goes on where it stopped.
BENCH_RAW ?= .cache/bench.jsonl
BENCH_ARGS ?=
bench-all:
	bench/setup_venvs.sh umbel celery huey taskiq dramatiq saq arq streaq rq plots
	python3 bench/all.py --raw $(BENCH_RAW) --docs docs/performance.md $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(DJANGO6_VENV) build dist docs/_build .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
