# What can be done here: `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# rustup puts cargo where only a login shell looks.
export PATH := $(PATH):$(HOME)/.cargo/bin

PREFIX ?= /usr/local
DESTDIR ?=
UNITDIR ?= /lib/systemd/system
CARGO ?= cargo
# Which profile of .config/nextest.toml, and what else nextest is told: make test TEST="-p rewire-schema".
NEXTEST_PROFILE ?= $(if $(CI),ci,default)
TEST ?=

target := $(shell $(CARGO) metadata --no-deps --format-version 1 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
target := $(if $(target),$(target),target)

.PHONY: help
help: ## This list
	@echo "Rewire. What can be done here:"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: deps ## Two VPCs, an internet, real traffic: every step checked, in under a minute (root)
	@$(CARGO) build --package rewire-cli --quiet
	@examples/demo/run.sh "$(target)/debug/rewire"

.PHONY: test
test: deps ## All tests: unit, property, end to end (these take root; without it they are skipped and say so); and the hot path's instructions
	@$(CARGO) nextest run --workspace --profile $(NEXTEST_PROFILE) $(TEST)
# Some tests alone are asked for by who works on something else.
ifeq ($(TEST),)
	@$(MAKE) instructions
endif

# The peers of the store's benchmarks record sessions. One SQLite for all release builds, so that it is built once.
bench build: export LIBSQLITE3_FLAGS := -DSQLITE_ENABLE_SESSION -DSQLITE_ENABLE_PREUPDATE_HOOK

# Whatever else is built: one set of features, so that the same code is counted everywhere.
count := $(CARGO) build --package rewire-instructions --release --quiet

.PHONY: bench
bench: ## Lists the benchmarks; make bench NAME=x runs one
ifeq ($(NAME),instructions)
	@$(count)
endif
	@$(CARGO) build --package rewire-bench --package rewire-cli --features rewire-bench/session,rewire-bench/peers,rewire-bench/rte-acl --release --quiet
	@"$(target)/release/rewire-bench" $(NAME)

# Only a release build's count says something. It is built of little, so that `make test` can have it.
.PHONY: instructions
instructions: deps ## Instructions that a packet takes, counted by callgrind, against their limits (release)
	@$(count)
	@"$(target)/release/rewire-instructions"

.PHONY: lint
lint: deps ## Format, clippy (with and without DPDK), licences and sources of what we build on
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --package rewire-cli --no-default-features --all-targets --quiet -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    $(CARGO) deny --log-level error check licenses bans sources; \
	else \
	    echo "licences, bans and sources not checked: cargo install --locked cargo-deny"; \
	fi

# The standard library's own sanitizers need a compiler that takes unstable flags; what DPDK leaves behind at its end is no
# leak of ours. Those of offload alone take 6 minutes on two busy cores, of which 4 are for building.
.PHONY: sanitize
sanitize: deps ## AddressSanitizer over the tests of what is unsafe, and over the demo (slow; root); SANITIZE=offload for offload alone
	export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR="$(target)/asan"; \
	host=$$(rustc -vV | sed -n 's/^host: //p'); \
	if [ "$(SANITIZE)" = offload ]; then \
	    $(CARGO) nextest run --target "$$host" --package rewire-conntrack --package rewire-dpdk --package rewire-dataplane \
	        --filterset 'test(offload) + test(flow) + binary(/offload/) + binary(/flow/)'; \
	    exit; \
	fi; \
	$(CARGO) nextest run --target "$$host" --package rewire-conntrack --package rewire-dpdk --package rewire-configdb \
	    --package rewire-dataplane; \
	$(CARGO) build --target "$$host" --package rewire-cli; \
	examples/demo/run.sh "$(target)/asan/$$host/debug/rewire"

# What is fuzzed, and what is kept of it, is in tests/fuzz. New inputs go beside the target, not into what is kept.
FUZZ := tests/fuzz/libfuzzer
TIME ?= 60

.PHONY: fuzz
fuzz: deps ## Lists what can be fuzzed; make fuzz NAME=x TIME=60 fuzzes it (cargo install --locked cargo-fuzz)
ifeq ($(NAME),)
	@ls tests/fuzz/corpus
else
	@mkdir -p "$(FUZZ)/corpus/$(NAME)"
	$(CARGO) fuzz run --sanitizer none --fuzz-dir $(FUZZ) $(NAME) $(FUZZ)/corpus/$(NAME) tests/fuzz/corpus/$(NAME) -- \
	    -max_total_time=$(TIME) -timeout=10 -rss_limit_mb=2048
endif

.PHONY: build
build: deps ## The release binary, target/release/rewire
	@$(CARGO) build --package rewire-cli --release

.PHONY: install
install: build ## The binary and the systemd unit (PREFIX=/usr/local, DESTDIR=)
	install -D -m 755 "$(target)/release/rewire" "$(DESTDIR)$(PREFIX)/bin/rewire"
	install -d "$(DESTDIR)$(UNITDIR)"
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|g' cli/rewire.service > "$(DESTDIR)$(UNITDIR)/rewire.service"

.PHONY: deps
deps: ## What building and testing need (nothing to do when it is there)
	@tests/install-dependencies.sh
	@dataplane/test-card/driver-headers.sh "$(target)/dpdk-driver-headers"

.PHONY: clean
clean: ## What was built
	$(CARGO) clean
