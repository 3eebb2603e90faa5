# `make help` lists what can be made.

CARGO := cargo

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-14s %s\n", $$1, $$2 }'

.PHONY: generate
generate: ## write gfs-proto's code from proto/gfs/v1
	$(CARGO) run -q -p gfs-proto-gen
