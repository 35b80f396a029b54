#!/usr/bin/env bash
# The long tier: what needs time or chance to go wrong. Less than three quarters of an hour on two cores by default.
#
#   scripts/chaos.sh                  all parts
#   scripts/chaos.sh trees seeds      some of them
#   SOAK_MINUTES=480 scripts/chaos.sh soak
#
# SOAK_MINUTES    of mixed chaos, 50 children and 50 clients (10)
# CHAOS_ROUNDS    kills of the daemon with 20 trees below it (20)
# WRITE_ROUNDS    kills while the registry and the sessions are written (200)
# CHURN_CYCLES    restarts of one server (500)
# N_SEEDS         runs of the tests that roll dice, each with another seed (6)
# FUZZ_SECONDS    for each fuzz target (10)
# PROPTEST_CASES  for each property that does not say how many it needs (2000)
# SEED            the first seed (taken from the clock, and told)
#
# One line a part; the whole output of each is in target/chaos. Ends with `N passed, N failed`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

SOAK_MINUTES=${SOAK_MINUTES:-10}
CHAOS_ROUNDS=${CHAOS_ROUNDS:-20}
WRITE_ROUNDS=${WRITE_ROUNDS:-200}
CHURN_CYCLES=${CHURN_CYCLES:-500}
N_SEEDS=${N_SEEDS:-6}
FUZZ_SECONDS=${FUZZ_SECONDS:-10}
PROPTEST_CASES=${PROPTEST_CASES:-2000}
SEED=${SEED:-$(date +%s)}
# Each part gets its own; none is to reach another by chance.
export -n CHAOS_ROUNDS CHURN_CYCLES FUZZ_SECONDS PROPTEST_CASES
unset MCP_IT_SEED

logs=target/chaos
mkdir -p "$logs"
wanted=("$@")
n_passed=0
n_failed=0

# part NAME COMMAND…: one line; when it failed, its last lines besides.
part() {
  local name=$1 before=$SECONDS
  shift
  if [ ${#wanted[@]} -gt 0 ] && [[ " ${wanted[*]} " != *" ${name%%-*} "* ]]; then return; fi
  if "$@" </dev/null >"$logs/$name.txt" 2>&1; then
    n_passed=$((n_passed + 1))
    echo "ok     $name ($((SECONDS - before)) s)"
  else
    n_failed=$((n_failed + 1))
    echo "FAILED $name ($((SECONDS - before)) s); all of it is in $logs/$name.txt, its end:"
    tail -n 25 "$logs/$name.txt" | sed 's/^/       | /'
  fi
}

# it VARIABLE=VALUE FILTER: integration tests, of which there has to be one: a filter that names none would pass for ever.
it() {
  local output status=0
  output=$(env "$1" cargo test --locked --test it -- --nocapture "$2" 2>&1) || status=$?
  printf '%s\n' "$output"
  [ "$status" -eq 0 ] && grep -qE '^test result: ok\. [1-9][0-9]* passed' <<<"$output"
}

echo "seed $SEED, $SOAK_MINUTES min of soak"
part build cargo build --release --locked
part properties env PROPTEST_CASES="$PROPTEST_CASES" cargo test --locked --lib
part trees-killed it CHAOS_ROUNDS="$CHAOS_ROUNDS" trees::p12_a_daemon_that_is_killed_again_and_again
part trees-churn it CHURN_CYCLES="$CHURN_CYCLES" trees::p14_starts_and_stops
part writes it CHAOS_ROUNDS="$WRITE_ROUNDS" faults::storage::kills::
for ((n = 0; n < N_SEEDS; n++)); do
  part "seeds-$((SEED + n))-crossing" it MCP_IT_SEED="$((SEED + n))" crossing::
  part "seeds-$((SEED + n))-meaning" it MCP_IT_SEED="$((SEED + n))" meaning::
  part "seeds-$((SEED + n))-fidelity" it MCP_IT_SEED="$((SEED + n))" fidelity::any_value::
done
part fuzz env RUSTFLAGS="--cfg fuzzing" CARGO_TARGET_DIR="$PWD/target/fuzz" FUZZ_SECONDS="$FUZZ_SECONDS" FUZZ_SEED="$SEED" \
  cargo test --release --no-default-features --locked --manifest-path fuzz/Cargo.toml
# The writes have had their part, and the chaos has the next.
part reliability scripts/reliability.sh --medium --without writes,chaos --seed "$SEED"
part soak scripts/reliability.sh --medium --only chaos --minutes "$SOAK_MINUTES" --seed "$SEED"

echo "$n_passed passed, $n_failed failed"
[ "$n_failed" -eq 0 ] && [ "$n_passed" -gt 0 ]
