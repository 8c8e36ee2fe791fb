# Every target makes the virtual environment if there is none.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DELETE_ON_ERROR:
.PHONY: demo test bench fuzz crashes chaos tables lint proto clean

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -e '.[sim,lerobot,embedded,test,dev]'
	touch $@

demo: $(STAMP)  ## the main job in about a minute; pass options as ARGS='--seed 7'
	$(BIN)/weldfusion demo $(ARGS)

test: $(STAMP)  ## every test, real brokers included; ARGS='--embedded-only' leaves those out
	$(BIN)/pytest $(ARGS)

bench: $(STAMP)  ## speed, memory, delivery; writes build/bench.json; ARGS='--only exactly_once'
	$(BIN)/python -m tests.benchmarks $(ARGS)

fuzz: $(STAMP)  ## damaged messages through a worker; writes build/fuzz.json; ARGS='50000 --seed 3'
	$(BIN)/python -m tests.fuzz $(ARGS)

SEEDS ?= 1000
crashes: $(STAMP)  ## workers killed at every await of a simulated log; writes build/crashes.json
	$(BIN)/python -m tests.simulation $(SEEDS)

chaos: $(STAMP)  ## blows for workers beside real brokers; writes build/chaos.json; ARGS='--only kafka/kills --seed 7'
	$(BIN)/python -m tests.chaos $(ARGS)

# Hours of training: interrupted, it goes on where it stopped.
STATION ?= welding-single
MINUTES ?= 80
TABLES := build/tables/$(STATION)
SPLIT = --data $(TABLES)/train.mcap --calibration $(TABLES)/calibration.mcap --out $(TABLES)
tables: $(TABLES)/report.html  ## the papers' tables for STATION=welding-single, welding-dual or ur5, from nothing

$(TABLES)/test.mcap: | $(STAMP)
	$(BIN)/weldfusion simulate $(STATION) --minutes $(MINUTES) --seed 1 --splits $(TABLES) --force

$(TABLES)/$(STATION).safetensors: $(TABLES)/test.mcap
	$(BIN)/weldfusion train configs/train-$(STATION).yaml $(SPLIT)

$(TABLES)/mmssl.safetensors: $(TABLES)/$(STATION).safetensors
	$(BIN)/weldfusion train configs/train-mmssl.yaml $(SPLIT) --encoders $<

$(TABLES)/mmae.safetensors: $(TABLES)/test.mcap
	$(BIN)/weldfusion train configs/train-mmae.yaml $(SPLIT)

$(TABLES)/report.html: $(addprefix $(TABLES)/,$(STATION).safetensors mmssl.safetensors mmae.safetensors)
	$(BIN)/weldfusion evaluate $< $(addprefix --beside ,$(wordlist 2,3,$^)) --data $(TABLES)/test.mcap \
		--seed 1 --json $(TABLES)/report.json --html $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proto: $(STAMP)  ## regenerate the protobuf code after a change of a .proto file
	$(BIN)/pip install --disable-pip-version-check 'grpcio-tools>=1.80'
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. stream/proto/*.proto

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
