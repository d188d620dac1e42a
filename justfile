# As .cargo/config.toml says to what cargo runs.
export LATCHHOOK_TOOLS := env_var_or_default("LATCHHOOK_TOOLS", justfile_directory() / ".tools")

target := env_var_or_default("CARGO_TARGET_DIR", "target")

# nextest runs tests of several programs side by side, and names the slow ones; without it all works too.
test := `command -v cargo-nextest >/dev/null && echo nextest run || echo test`

[private]
default:
    @just --justfile '{{ justfile() }}' --list --unsorted

# Unoptimised but for its dependencies: from a clean clone that is there much sooner than a release build, `test` finds
# the dependencies built, and the demo waits for its servers, not for its own code.

# See it work: replays recorded webhooks with duplicates, concurrently, and checks every promise
demo *arguments: tools
    cargo run --bin latchhook -- demo {{ arguments }}

# Everything is built at once, because what is built in parts is built again where the parts ask for other features.

# Run all tests on servers of their own, or some: `test --test queue`
test *arguments: tools
    cargo build --workspace --all-targets
    '{{ target }}/debug/latchhook' dev exec --scratch -- cargo {{ test }} --workspace {{ arguments }}

# Kill, freeze, cut and starve a whole fleet under load, and judge it from outside: `chaos --seed S --minutes N`
chaos *arguments: tools
    cargo build --workspace --all-targets
    '{{ target }}/debug/chaos' {{ arguments }}

# Have an app in Ruby enqueue so many events through every door while processes are killed, and count: `from-another-language 2000`
from-another-language events="100000": tools
    cargo build --workspace --all-targets
    LATCHHOOK_APP_EVENTS={{ events }} '{{ target }}/debug/latchhook' dev exec --scratch -- \
        cargo test --package tests --test apps -- --nocapture

# See how long an audit takes, of a million events or so many: `audit-speed --events 100000`
audit-speed *arguments: tools
    cargo run --package tests --example audit-speed -- {{ arguments }}

# Measure all stages, release build; `bench --help` says what can be varied: `bench --only base --runs 5 --svg bench.svg`
bench *arguments: tools
    cargo run --release --bin latchhook -- bench {{ arguments }}

# Draw where CPU time goes while all stages are flooded: `flame flame.svg`; needs perf and inferno
flame *file: tools
    @tools/flamegraph {{ file }}

# See within seconds whether the benches run; the figures are worth nothing
bench-smoke: tools
    cargo run --bin latchhook -- bench --quick --only base,queued,items,latency-ms,neighbours --ceiling
    cargo test --benches --package providers --package dispatcher --package vocabulary

# Install Postgres and Redis below .tools/ if they are nowhere to be found
tools:
    @tools/install

# Format the code; `fmt --check` only looks
fmt *arguments:
    cargo fmt --all -- {{ arguments }}

# Look for what is likely to be wrong
clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# Build the documentation of all crates
docs:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

# Break the code on purpose and see a test fail each time: all of tests/mutants, or some; `mutants --check` only looks
mutants *arguments: tools
    @tools/mutants {{ arguments }}

# Check deploy/, as far as that goes without a container engine
deploy:
    @tools/check-deploy

# Let libFuzzer look for bytes that break a promise, and say which: `fuzz split 600` (docs/fuzzing.md)
fuzz target seconds="180":
    @command -v cargo-fuzz >/dev/null || { echo "fuzz: needs cargo-fuzz: cargo install cargo-fuzz --locked" >&2; exit 1; }
    @tests/fuzz/seed '{{ target }}'
    cargo fuzz run -s none --fuzz-dir tests/fuzz '{{ target }}' -- -max_total_time={{ seconds }} -print_final_stats=1

# All that must hold before a change lands
ci: (fmt "--check") clippy docs (mutants "--check") test bench-smoke deploy
