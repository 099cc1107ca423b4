# The only command surface. `make run` and `make test` work on a fresh Debian machine with Rust.

CARGO ?= cargo
# The example's jobs are Python; whatever python3 there is will do.
PYTHON := $(if $(shell command -v python3),,python3)
APT_PACKAGES := protobuf-compiler libprotobuf-dev
TEST_PACKAGES := etcd-server etcd-client openssl procps $(PYTHON)

.PHONY: run test lint fmt bench sim build deps run-deps test-deps

run: deps run-deps ## Builds, runs the insurance pipeline, and shows that its tables are what its data says.
	$(CARGO) build --release --locked -p penstock
	./target/release/penstock run examples/insurance/pipeline.yaml
	python3 examples/insurance/verify.py

build: deps
	$(CARGO) build --release --locked -p penstock

test: deps test-deps ## Every test, with real servers. Nothing is skipped.
	$(CARGO) build --locked --workspace --bins --tests
	$(CARGO) test --locked --workspace
	$(MAKE) sim

sim: deps ## The cluster on a simulated network.
	cd tests/simulation && $(CARGO) test --locked

lint: deps
	$(CARGO) fmt --check
	cd tests/simulation && $(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt:
	$(CARGO) fmt
	cd tests/simulation && $(CARGO) fmt

bench: deps test-deps ## Fan-out and chain through the whole path, beside a raw etcd put.
	$(CARGO) build --release --locked -p penstock -p penstock-bench
	./target/release/penstock-bench

# What a fresh machine lacks is installed, and said.
deps:
	@./deploy/install-packages.sh $(APT_PACKAGES)

run-deps:
	@./deploy/install-packages.sh $(PYTHON)

test-deps:
	@./deploy/install-packages.sh $(TEST_PACKAGES)
