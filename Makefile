# What can be made. `make help` lists it; README.md says what to expect of each.
#
# Everything is built once, as static release binaries: the tests run, the demo shows and the images
# hold the same artefacts.

SHELL := /bin/bash
CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# .cargo/config.toml names the target, so cargo puts everything below its name.
BIN := $(TARGET_DIR)/x86_64-unknown-linux-gnu/release

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-20s %s\n", $$1, $$2 }'

.PHONY: prepare
prepare: # see to it that the tools are there: compiler, linker, the pinned Rust toolchain
	@scripts/prepare

.PHONY: build
build: prepare ## compile everything: binaries, tests, demo, benchmark
	$(CARGO) build --release --workspace --all-targets

.PHONY: test
test: build ## run every test, against the real binaries where processes are needed
	$(CARGO) test --release --workspace --no-fail-fast
	@# With rules of the protocol broken on purpose: every one must be noticed.
	$(CARGO) test --release -p gfs-core --features planted-mistakes
	$(CARGO) test --release -p gfs-sim --features planted-mistakes --test planted_mistakes

.PHONY: demo
demo: build ## store real files, kill servers while they are written and read, watch it heal
	$(BIN)/gfs-demo $(DEMO_FLAGS)

.PHONY: bench
bench: build ## measure, beside raw baselines taken in the same run; a table, and JSON in .cache/
	$(BIN)/gfs-bench

.PHONY: lint
lint: check-format check-dependencies check-bad-input clippy ## everything that checks without running

.PHONY: check-format
check-format: prepare
	$(CARGO) fmt --all --check

.PHONY: check-dependencies
check-dependencies: prepare ## licences, banned and doubled crates, the layering of our own
	scripts/check-dependencies

.PHONY: check-bad-input
check-bad-input: # every case of docs/bad-input.md and every limit of docs/limits.md names tests that exist
	scripts/check-bad-input-table docs/bad-input.md
	scripts/check-bad-input-table docs/limits.md 5 4

.PHONY: clippy
clippy: prepare
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

.PHONY: generate
generate: prepare ## write crates/gfs-proto/src/generated from proto/gfs/v1
	$(CARGO) run --quiet --release -p gfs-proto-gen

.PHONY: check-generated
check-generated: build # the generated code is what the .proto files give
	$(BIN)/gfs-proto-gen --check

.PHONY: fmt
fmt: prepare ## format the code
	$(CARGO) fmt --all

.PHONY: clean-caches
clean-caches: ## remove what builds, the demo and the benchmark left behind
	rm -rf target target-* .cache
