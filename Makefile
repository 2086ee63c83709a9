# Entry points for people and CI. What they do is in deploy/dev/scripts; `make help` lists them.

scripts := deploy/dev/scripts
# The version whose settings deny.toml is written for.
deny_version := 0.20.2

# Runs a command with PROTOC set to a protoc that is installed, or unpacked beside the system.
with_protoc := PROTOC=$$($(scripts)/protoc.sh) && export PROTOC &&

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint deny bench

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo: ## return a fleet on this machine, live; MAIL=/path/to/maildirs: your own mail, read-only
	@$(with_protoc) cargo build --release -p rientro-orchestrator -p rientro-agent -p rientro-dev --bins
	@$${CARGO_TARGET_DIR:-target}/release/rientro-demo $(if $(MAIL),--mail "$(MAIL)")

test: ## bring what the tests need and run every suite
	@$(scripts)/test.sh

soak: ## longer schedules of the same tests: hours (SOAK_LIVE_ROUNDS, SOAK_SIM_ITERATIONS, PROPTEST_CASES)
	@$(scripts)/test.sh soak

lint: ## formatting, lints and documentation, warnings refused
	@$(scripts)/lint.sh

deny: ## bans, licences and sources of every dependency
	@test -x target/tools/bin/cargo-deny || cargo install cargo-deny --locked --version $(deny_version) --root target/tools
	@target/tools/bin/cargo-deny --all-features check bans licenses sources

bench: ## all benchmarks
	@$(with_protoc) cargo bench --workspace
