# The commands of this project. Each is a script, which says what it does.

.PHONY: build image test lint fuzz bench crds demo demo-down clean help

help:            ## this list
	@sed -n 's/^\([a-z-]*\): *[^#]*## /\1\t/p' Makefile | expand -t 12

build:           ## the release binary, static, at target/release/secretref
	@deploy/image/binary.sh

image:           ## the container image as target/secretref.tar, without Docker
	@mkdir -p target
	@deploy/image/build.sh target/secretref.tar

test: lint       ## everything: format, lints, dependencies, chart, and all tests on a real cluster and a real store
	@tests/run.sh

lint:            ## what needs no cluster: format, clippy, dependencies, chart
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	@tests/deny.sh
	@PYTHONPATH="$$(tests/tools/pyyaml.sh)" KUBECONFIG= tests/chart/lint.sh

fuzz:            ## the parsers against broken documents, for long; `make test` does it briefly
	PROPTEST_CASES=$${PROPTEST_CASES:-200000} cargo test --locked --lib -- fuzz

bench:           ## the figures of the README, on this machine
	@benches/run.sh

crds:            ## crds/ and the chart's copies, from src/api
	@tests/tools/crds.sh

demo:            ## a cluster, a store, the operator and sample references, in about a minute (the first time longer)
	@demo/up.sh

demo-down:       ## removes all of it
	@demo/down.sh

clean:           ## what was built here; caches outside the clone stay
	cargo clean
	rm -rf target
