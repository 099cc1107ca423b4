# The only command surface. `make run` and `make test` work on a fresh Debian machine with Rust.

CARGO ?= cargo
# The example's jobs are Python; whatever python3 there is will do, if it can make virtual environments for the tests.
PYTHON := $(if $(shell command -v python3),,python3)
VENV := $(if $(shell python3 -c 'import ensurepip' 2>/dev/null && echo yes),,python3-venv)
APT_PACKAGES := protobuf-compiler libprotobuf-dev
TEST_PACKAGES := etcd-server etcd-client postgresql podman runc busybox-static openssl procps libfaketime $(PYTHON) $(VENV)

.PHONY: run test test-rust test-python test-docs lint fmt bench sim build deps run-deps test-deps

run: deps run-deps ## Builds, runs the insurance pipeline, and shows that its tables are what its data says.
	$(CARGO) build --release --locked -p penstock
	./target/release/penstock run examples/insurance/pipeline.yaml
	python3 examples/insurance/verify.py

build: deps
	$(CARGO) build --release --locked -p penstock

test: test-rust sim test-python test-docs ## Every test, with real servers. Nothing is skipped.

test-rust: deps test-deps target/python/ready
	$(CARGO) build --locked --workspace --bins --tests
	$(CARGO) test --locked --workspace

# Against the binary that test-rust has built.
test-python: test-rust target/python/ready ## The Python client, with a real server.
	cd clients/python && PENSTOCK_TEST_ALL=1 PENSTOCK_BIN=$(CURDIR)/target/debug/penstock $(CURDIR)/target/python/bin/python -m pytest -q

test-docs: test-rust target/python/ready ## Every example of every page.
	target/python/bin/python tests/docs/run.py target/debug/penstock

target/python/ready: clients/python/pyproject.toml | test-deps
	python3 -m venv target/python
	target/python/bin/pip install -q -e 'clients/python[test]' kubernetes-validate
	touch $@

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
