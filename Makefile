# sievit: `make demo` and `make test` do all set-up themselves (see README.md).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := build/.tools
FPGA := build/.fpga-tools
# python3-dev brings the shared libpython that cocotb loads into the simulator
APT_PACKAGES := iverilog ccache liblz4-dev zlib1g-dev g++ make perl python3-venv python3-dev
WORKERS ?= 2
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := help
.PHONY: help venv tools fpga demo test real regress clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

venv: $(STAMP) ## system packages and the Python environment

$(STAMP): pyproject.toml
	@echo "== Set-up 1/2: system packages"
	@command -v dpkg-query >/dev/null || { \
	  echo "not a Debian system: install yourself what corresponds to: $(APT_PACKAGES)"; exit 0; }; \
	missing=""; \
	for package in $(APT_PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
	    || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
	fi
	@echo "== Set-up 2/2: Python packages, into $(VENV)"
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[sim,serial,export,fpga,search,dev]'
	@touch $@

tools: $(TOOLS) ## configure Verilator (once)

$(TOOLS): $(STAMP) sim/verilator_kit.py
	@echo "== Tools: Verilator"
	@$(BIN)/python -m sim.verilator_kit
	@mkdir -p $(@D) && touch $@

fpga: $(FPGA) ## let the FPGA tools compile themselves (once, minutes)

$(FPGA): $(STAMP) boards/yowasp.py
	@echo "== Tools: Yosys and nextpnr compile themselves (once, minutes)"
	@$(BIN)/python -m boards.yowasp
	@mkdir -p $(@D) && touch $@

demo: $(TOOLS) ## classify real test images on simulated Verilog
	@$(BIN)/sievit demo

test: $(TOOLS) $(FPGA) ## lint, types, a small bitstream and all tests; about half an hour
	@BIN=$(BIN) WORKERS=$(WORKERS) .ci/steps

real: $(TOOLS) ## DeiT-T (dense, masked), DeiT-S, ViT-S/14, first blocks of DeiT-B on asic512
	@for model in deit_tiny_patch16_224 deit_tiny_patch16_224~vitcod deit_small_patch16_224 \
	    vit_small_patch14_dinov2 deit_base_patch16_224:2; do \
	  $(BIN)/sievit simulate --model "$$model" --preset asic512 --dataset random || exit 1; \
	done

regress: $(TOOLS) ## the long cocotb regression
	@BIN=$(BIN) WORKERS=$(WORKERS) .ci/steps regress

clean: ## remove everything generated, but not the environment
	rm -rf build .pytest_cache .ruff_cache
