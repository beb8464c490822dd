# Everything from a bare clone on a Debian machine. Each step is skipped where it is done already.
#
#   make env     the environment: system packages where absent, .venv, compiled kernels, the viewer's Cesium
#   make demo    the stack, one job on the bundled scene, its figures and its map; until Ctrl-C, or with
#                DEMO_EXIT=1 until it is done
#   make up      the stack alone
#   make test    what CI runs: linters and all tests, on a PostGIS and a Redis of their own
#   make check   the linters alone
#   make bench   accuracy and speed, as the README shows them; half an hour
#   make bench-peers   beside CARS, Bulldozer, CSF and buildingregulariser, which it installs in .peers;
#                an hour or more
#   make clean   removes what make made; your data folder stays
#
# A machine without a GPU that would rather not fetch the CUDA build of torch:
#   make env TORCH_INDEX=https://download.pytorch.org/whl/cpu

.PHONY: help env test-env test check demo up bench bench-peers clean system system-test
.DEFAULT_GOAL := help

BIN := .venv/bin
VIEWER := tiles/viewer/node_modules/.made
JUDGES := tests/node/node_modules/.made
SOURCES := server processes catalog tiles workers tests
# what one process of the tests has compiled, the many others need not compile again
unexport PYTHONDONTWRITEBYTECODE

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

env: system .venv/.compiled $(VIEWER)

test-env: system-test .venv/.made $(VIEWER) $(JUDGES)

test: test-env .venv/.compiled check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	    $(if $(CI),--color=no) $(PYTEST)

check: system .venv/.made
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check --quiet $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: env
	@$(BIN)/orograph demo $(if $(DEMO_EXIT),--exit)

up: env
	@$(BIN)/orograph up

bench: test-env
	@for name in accuracy views lands speed speed_area segmentation roofs tilesets serving; do \
	    echo "== $$name"; $(BIN)/python tests/benchmarks/$$name.py || exit 1; \
	done

bench-peers: system .venv/.made
	$(BIN)/python tests/benchmarks/peers.py $(PEERS)
	$(BIN)/python tests/benchmarks/peers_terrain.py
	$(BIN)/python tests/benchmarks/outlines.py

clean:
	rm -rf .venv build *.egg-info tiles/viewer/node_modules tests/node/node_modules
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

system:
	@docker/system-packages.sh services

system-test:
	@docker/system-packages.sh services browser

.venv/.made: pyproject.toml constraints.txt docker/environment.sh
	@TORCH_INDEX=$(TORCH_INDEX) docker/environment.sh .venv
	@touch $@

.venv/.compiled: .venv/.made
	@docker/kernels.sh .venv tests/data/scenes/village
	@touch $@

%/node_modules/.made: %/package-lock.json
	@docker/node-packages.sh $*
	@touch $@
