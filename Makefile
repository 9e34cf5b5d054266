# Start here: make demo, make test. Both create .venv if it is missing.

ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
VENV ?= $(ROOT).venv
PYTHON ?= python3
BIN := $(VENV)/bin

# Environments for the programs that read what we write, or whose weights we read; MXNet needs Python 3.8 to 3.11, NNabla
# 3.8 to 3.10.
INTEROP ?= $(ROOT).interop
INTEROP_PYTHON ?= python3.11
NNABLA_PYTHON ?= python3.10
INTEROP_ENVIRONMENTS := tensorflow mxnet dali webdataset nnabla transformers
MXNET_SYMBOLS := https://raw.githubusercontent.com/apache/mxnet/1.9.1/example/image-classification/symbols
MXNET_NETWORKS := mlp,lenet,resnet,resnetv1,resnext,inception-bn,inception-v3,inception-v4,inception-resnet-v2,$\
  alexnet,googlenet,mobilenet,vgg
NNABLA_NETWORKS := https://raw.githubusercontent.com/sony/nnabla-examples/8ec62878faaebaee83d6a260431282207f18e195/$\
  image-classification/imagenet/models
NNABLA_MODULES := __init__,base,efficientnet,mobilenet,registry,resnet,resnext,senet
PYTORCH_EXAMPLES := https://raw.githubusercontent.com/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8

.PHONY: install demo test fuzz interop lint types docs clean

install: $(VENV)/.installed

$(VENV)/.installed: $(ROOT)pyproject.toml $(ROOT)constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else \
	  "tench needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(ROOT)constraints.txt -e '$(ROOT)[dev,export,interop,logging]'
	@touch $@

# Train on handwritten digits, evaluate the run, classify ten held-out digits with it.
demo: install
	$(BIN)/tench train
	run=$$(ls -td runs/*/ | head -n 1) \
	  && $(BIN)/tench evaluate $$run \
	  && $(BIN)/python $(ROOT)examples/digit_pictures.py $${run}pictures \
	  && $(BIN)/tench predict $$run $${run}pictures --top 2

# Some environments turn bytecode files off; the hundreds of processes that the tests start would all compile our modules.
# One process more than there are cores, because some tests wait; at most 8. `worksteal` keeps a file's tests, and the
# runs they share, together until a process has none left.
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
test: install lint types
	cd $(ROOT) && PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n $(PROCESSES) --dist worksteal

# Like the tests, but with 100,000 changes for each reader instead of 40, and with no time limit for a test.
fuzz: install
	cd $(ROOT) && TENCH_FUZZ=100000 $(BIN)/python -m pytest -q --timeout 0 tests/fuzz

# Check that TensorFlow, MXNet, DALI and webdataset read what `tench prepare` writes, and that MXNet's networks give the
# same answers with our weights. Creates missing environments.
interop: install $(INTEROP_ENVIRONMENTS:%=$(INTEROP)/%/.installed) $(INTEROP)/pytorch_imagenet_main.py \
  $(INTEROP)/mxnet_symbols $(INTEROP)/nnabla_networks
	cd $(ROOT) && TENCH_INTEROP=$(abspath $(INTEROP)) $(BIN)/python -m pytest -q -m interop tests/interop

$(INTEROP)/nnabla/.installed: INTEROP_PYTHON = $(NNABLA_PYTHON)
$(INTEROP)/%/.installed: $(ROOT)tests/interop/%.txt
	$(INTEROP_PYTHON) -m venv --clear $(INTEROP)/$*
	$(INTEROP)/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(INTEROP)/pytorch_imagenet_main.py:
	@mkdir -p $(INTEROP)
	curl -fsS $(PYTORCH_EXAMPLES)/imagenet/main.py -o $@.part && mv $@.part $@ || echo "The test of $(@F) is skipped."

$(INTEROP)/mxnet_symbols:
	@mkdir -p $@.part
	cd $@.part && curl -fsS --fail-early -O "$(MXNET_SYMBOLS)/{$(MXNET_NETWORKS)}.py" && mv $(abspath $@).part $(abspath $@) \
	  || echo "The tests of MXNet's networks are skipped."

$(INTEROP)/nnabla_networks:
	@mkdir -p $@.part/models
	cd $@.part/models && curl -fsS --fail-early -O "$(NNABLA_NETWORKS)/{$(NNABLA_MODULES)}.py" \
	  && mv $(abspath $@).part $(abspath $@) || echo "The tests of NNabla's networks are skipped."

# Without ruff's cache, which keeps the answer for a file even if a new file changes it (what is first-party, say).
lint: install
	cd $(ROOT) && $(BIN)/ruff check --no-cache . && $(BIN)/ruff format --check .

types: install
	cd $(ROOT) && $(BIN)/mypy

# Regenerate the generated pages of docs/.
docs: install
	cd $(ROOT) && $(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) $(INTEROP) $(ROOT).mypy_cache $(ROOT).ruff_cache $(ROOT).pytest_cache $(ROOT).hypothesis
