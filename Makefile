.DEFAULT_GOAL := help
PY := .venv/bin/python

help:      ## these lines
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: run-tools    ## a hive of its own with a scripted model: watch a manager and an agent at work (ARGS=--exit runs it to the end)
	@$(PY) manage.py hive demo $(ARGS)

run: run-tools     ## your hive (ARGS="--bind 127.0.0.1:7000")
	@$(PY) manage.py hive serve $(ARGS)

test: test-tools lint   ## everything that judges a change (ARGS="-k name")
	@$(PY) -m pytest $(ARGS)

lint: test-tools   ## ruff, mypy, import contract, templates, migrations
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	@.venv/bin/lint-imports --no-cache
	@$(PY) -m mypy
	@.venv/bin/djlint --lint --quiet agents dashboard
	@DJANGO_SETTINGS_MODULE=tests.settings $(PY) manage.py makemigrations --check --dry-run

format: test-tools ## let the tools write it
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

crash: test-tools  ## kill -9 two thousand times under load, and at every named step (KILLS=2000, SEED=)
	@HIVE_CRASH_KILLS=$(or $(KILLS),2000) HIVE_CRASH_SEED=$(SEED) $(PY) -m pytest tests/crash $(ARGS)

bench: bench-tools ## figures, as ratios measured in one run; the mailboxes' table goes to docs/benchmarks.md
	@timeout 1800 $(PY) tests/bench/bench_mailboxes.py --write docs/benchmarks.md
	@for bench in claim swarm harness turn events vacuum dashboard viewers; do echo "bench_$$bench:"; timeout 900 $(PY) tests/bench/bench_$$bench.py || exit 1; done

soak: test-tools   ## thirty minutes of twenty scripted agents: memory and descriptors (ARGS="MINUTES")
	@$(PY) tests/bench/soak.py $(ARGS)

lock:      ## write both locks anew, and Nix's copy of them (needs uv)
	uv pip compile pyproject.toml --upgrade --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q -o requirements.lock
	uv pip compile pyproject.toml --upgrade --extra dev --extra e2e -c requirements.lock --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q -o requirements-dev.lock
	$(PY) nix/lock2nix.py

run-tools:
	@bin/setup run

test-tools:
	@bin/setup test

bench-tools: # a peer that cannot be installed is left out, and it is said
	@bin/setup bench || bin/setup test

.PHONY: help demo run test lint format crash bench soak lock run-tools test-tools bench-tools
