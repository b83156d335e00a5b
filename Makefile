# `make serve` and `make test` each do their whole set-up; a fresh machine needs only Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: serve test check soak soak-simulation soak-transactions soak-power bench conformance codegen format clean

$(BIN)/.runtime: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	$(BIN)/pip install -q --prefer-binary -e .
	touch $@

$(BIN)/.dev: $(BIN)/.runtime
	$(BIN)/pip install -q --prefer-binary --group dev --group clients
	touch $@

$(BIN)/.bench: $(BIN)/.dev
	$(BIN)/pip install -q --prefer-binary --group bench
	touch $@

serve: $(BIN)/.runtime
	$(BIN)/odradek serve $(ARGS)

check: $(BIN)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/unit -n auto --dist loadfile

test: check
	$(BIN)/pytest tests --ignore tests/unit

# SEEDS=5000-5999, or SEEDS=7000- for ever; JOBS at a time; OPTIONS=--transactions and others
SEEDS ?= 1000-1999
OPTIONS ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
soak-simulation: $(BIN)/.dev
	$(BIN)/python -m odradek.testing.simulation $(SEEDS) --jobs $(JOBS) $(OPTIONS)

# SECONDS=3600; SEED of the first minute. ODRADEK_FAULTS_BROKER=kafka: on Apache Kafka
SECONDS ?= 600
SEED ?=
soak-transactions: $(BIN)/.dev
	$(BIN)/python -m tests.faults.transactions.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# SECONDS=3600; SEED of the first trace
soak-power: $(BIN)/.dev
	$(BIN)/python -m tests.faults.power --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# All three at a time. With SEEDS=7000- the other two go on for ever, too: until it is interrupted
soak: $(BIN)/.dev
	$(MAKE) -j3 soak-simulation soak-transactions soak-power $(if $(filter %-,$(SEEDS)),SECONDS=inf)

format: $(BIN)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

codegen: $(BIN)/.dev
	$(BIN)/python -m codegen
	$(BIN)/python -m codegen.supported

conformance: $(BIN)/.dev
	$(BIN)/pytest tests/conformance -rs

bench: $(BIN)/.bench
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
