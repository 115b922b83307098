# `make demo` and `make test` set everything up from nothing: a virtual environment with pinned versions in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TENSORRT_STUBS := $(or $(POSESYN_SHARED),../shared)/typestubs

.PHONY: demo test lint types unit slow docs clean

demo: $(STAMP)  ## the whole loop on rendered people and on photographs; ends with a table, runs/demo/report.html and runs/demo/picture.jpg
	$(BIN)/posesyn demo --photographs examples/photographs

test: lint types unit  ## everything that CI checks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy posesyn_core plugins/posesyn_* engines/posesyn_*
	@for generation in 10 11; do \
	  stubs=$(TENSORRT_STUBS)/tensorrt-$$generation; \
	  if [ -d $$stubs ]; then \
	    echo "against TensorRT $$generation:"; \
	    MYPYPATH=$$stubs $(BIN)/mypy --cache-dir .mypy_cache/tensorrt-$$generation engines/posesyn_tensorrt || exit 1; \
	  else \
	    echo "against TensorRT $$generation: skipped, no stubs in $$stubs (set POSESYN_SHARED)"; \
	  fi; \
	done

# One thread per process: two test processes with two spinning threads each would only get in each other's way.
unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow and not gpu and not tensorrt" \
	  --cov=posesyn_core --cov-report=term:skip-covered --cov-fail-under=90

slow: $(STAMP)  ## whole runs: killed and resumed, with other batch sizes and workers
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

docs: $(STAMP)  ## the documentation as a web site in site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info
