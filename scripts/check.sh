#!/usr/bin/env bash
# What must hold before a change lands, in the order in which it tells most for the least time.
#
#   scripts/check.sh        the fast tier: under five minutes on two quiet cores, once everything is built
#   scripts/check.sh --all  what CI runs: fuzz smoke, real servers and clients, and the conformance suite besides
#
# What takes longer still is in scripts/chaos.sh.
#
# Needs Rust and a C compiler. What else a step needs and this machine lacks is named, and the step is skipped;
# with CI=true it has failed, since nobody would read the sentence. cargo-deny alone may always be absent.
# Goes on after a failed step, and ends with `N passed, N failed, N skipped`, in steps.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# The binaries under test are those built below, whatever the caller has set.
unset MCP_WRAPPER MCPCTL

is_all=false
case "${1:-}" in
  "") ;;
  --all) is_all=true ;;
  *) echo "unknown: $1 (there is only --all)" >&2; exit 2 ;;
esac

n_passed=0
n_failed=0
n_skipped=0
summary=()

# step NAME COMMAND…
step() {
  local name=$1 before=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  if "$@" </dev/null; then
    n_passed=$((n_passed + 1))
    summary+=("ok      $name ($((SECONDS - before)) s)")
  else
    n_failed=$((n_failed + 1))
    summary+=("FAILED  $name ($((SECONDS - before)) s)")
    return 1
  fi
}

# skip NAME SENTENCE
skip() {
  printf '\n=== %s\nskipped: %s\n' "$1" "$2"
  n_skipped=$((n_skipped + 1))
  summary+=("skipped $1: $2")
}

# fail NAME SENTENCE: a step that could not be run at all.
fail() {
  printf '\n=== %s\nfailed: %s\n' "$1" "$2"
  n_failed=$((n_failed + 1))
  summary+=("FAILED  $1: $2")
}

# lacking NAME SENTENCE: skipped by a person, failed in CI.
lacking() {
  if [ "${CI:-}" = true ]; then fail "$1" "$2"; else skip "$1" "$2"; fi
}

# Those of the given programs that are not here, in one line.
absent() {
  local program found=""
  for program in "$@"; do
    command -v "$program" >/dev/null || found="$found $program"
  done
  echo "${found# }"
}

rust_steps() {
  if cargo fmt --version >/dev/null 2>&1; then
    step "cargo fmt" cargo fmt --check
  else
    lacking "cargo fmt" "rustfmt is missing (rustup component add rustfmt); the format was not checked"
  fi
  if cargo clippy --version >/dev/null 2>&1; then
    step "cargo clippy" cargo clippy --all-targets --locked -- -D warnings
  else
    lacking "cargo clippy" "clippy is missing (rustup component add clippy); the lints were not checked"
  fi
  step "cargo test" cargo test --locked
  step "cargo doc" env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
}

# The fuzz targets with a driver of their own: no fuzzer is needed for it.
fuzz_step() {
  step "fuzz smoke" env RUSTFLAGS="--cfg fuzzing" CARGO_TARGET_DIR="$PWD/target/fuzz" \
    cargo test --release --no-default-features --locked --manifest-path fuzz/Cargo.toml
}

# With the release binaries, from outside.
outside_steps() {
  local without_tools
  without_tools=$(absent curl jq)
  if [ -z "$without_tools" ]; then
    step "scripts/test_mvp.sh" scripts/test_mvp.sh
  else
    lacking "scripts/test_mvp.sh" \
      "missing: $without_tools (on Debian: apt-get install $without_tools); the daemon was not tried from outside"
  fi
  if [ ! -r /proc/self/smaps_rollup ]; then
    lacking "scripts/reliability.sh --quick" "the figures are read from /proc; survivors and memory were not looked at"
  elif [ -n "$(absent python3)" ]; then
    lacking "scripts/reliability.sh --quick" "python3 is missing; survivors and memory were not looked at from outside"
  else
    # The writes are tried by cargo test already.
    step "scripts/reliability.sh --quick" scripts/reliability.sh --quick --without writes
  fi
  if $is_all; then real_step; fi
  # Leaves out by itself, with a sentence, what needs a peer that is not here.
  step "tests/readme/run.sh" tests/readme/run.sh
  if $is_all; then conformance_step; fi
}

real_step() {
  local without_peers
  without_peers=$(tests/real/install.sh --missing)
  if [ -z "$without_peers" ]; then
    step "tests/real/run.sh" tests/real/run.sh
  else
    lacking "tests/real/run.sh" \
      "missing: ${without_peers//$'\n'/, }; real servers and the Python, TypeScript and LangChain clients were left out"
  fi
}

conformance_step() {
  local without_suite
  without_suite=$(tests/conformance/install.sh --missing)
  if [ -z "$without_suite" ]; then
    step "tests/conformance/run.sh" tests/conformance/run.sh
  else
    lacking "tests/conformance/run.sh" \
      "missing: ${without_suite//$'\n'/, }; the official conformance suite was left out"
  fi
}

rust_steps
if $is_all; then fuzz_step; fi
if step "cargo build --release" cargo build --release --locked; then
  outside_steps
else
  fail "from outside" "there is no release build to try"
fi
if cargo deny --version >/dev/null 2>&1; then
  step "cargo deny" cargo deny check
else
  skip "cargo deny" "cargo-deny is not installed (cargo install cargo-deny --locked); advisories and licences were not checked"
fi

printf '\n=== in short\n'
printf '%s\n' "${summary[@]}"
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ "$n_failed" -eq 0 ]
