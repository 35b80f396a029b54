#!/usr/bin/env bash
# The official MCP conformance suite, in two versions, against the gateway with the stdio fixture behind it, shared by all
# sessions and with a process for each, and against the same fixture served directly, which is the measure.
#
#   tests/conformance/run.sh             every scenario
#   tests/conformance/run.sh SCENARIO…   only these, which must be in both versions
#   KEEP=1 tests/conformance/run.sh …    leaves the scratch folder with all results and logs
#
# Uses the release binaries, or those named by MCP_WRAPPER and MCPCTL. Fails where the gateway passes less than the
# fixture directly, unless expected-failures.yml says so, and where that file says so wrongly. One line a scenario, and at
# the end `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/daemon.sh
source "$here/../../scripts/daemon.sh"

# A whole suite takes 15 s, most of it for one scenario; one that hangs in every scenario is cut off.
SUITE_SECONDS=240
READY_SECONDS=30
DRAIN_SECONDS=25
REVISION=2025-11-25

sharings=(shared per-session)
scenarios=("$@")

"$here/install.sh"
daemon_programs

scratch=$(mktemp -d)
project=""
fixture_pid=""
fixture_url=""

leave() {
  daemon_stop 5
  fixture_stop
  if [ -n "${KEEP:-}" ]; then echo "kept: $scratch"; else rm -rf "$scratch"; fi
}
trap leave EXIT

fixture_start() {
  "$here/.venv/bin/python" "$here/fixture.py" --http 0 </dev/null >"$scratch/fixture.txt" 2>&1 &
  fixture_pid=$!
  wait_until "$READY_SECONDS" fixture_said_where || true
  if [ -z "$fixture_url" ]; then
    echo "the fixture did not say where it listens; it said:" >&2
    tail -n 30 "$scratch/fixture.txt" >&2
    return 1
  fi
}

# Also true when there is nothing left to wait for, because the fixture ended.
fixture_said_where() {
  fixture_url=$(sed -nE 's|^listening on (http://127\.0\.0\.1:[0-9]+/mcp)$|\1|p' "$scratch/fixture.txt")
  [ -n "$fixture_url" ] || ! is_alive "$fixture_pid"
}

fixture_stop() {
  [ -n "$fixture_pid" ] || return 0
  kill -TERM "$fixture_pid" 2>/dev/null || true
  wait_until 5 fixture_is_gone || kill -KILL "$fixture_pid" 2>/dev/null || true
  wait "$fixture_pid" 2>/dev/null || true
  fixture_pid=""
}

fixture_is_gone() {
  ! is_alive "$fixture_pid"
}

# suite VERSION TARGET URL WORD…: its status tells only what its results tell in detail, so it is not looked at; one that
# is cut off, or dies, leaves scenarios without results.
suite() {
  local version=$1 results=$scratch/$2/$1 url=$3 program
  shift 3
  program=$here/node_modules/conformance-$(cut -d. -f1,2 <<<"$version")/dist/index.js
  timeout --kill-after=10 "$SUITE_SECONDS" "$here/.node" "$program" server --url "$url" --output-dir "$results" "$@" \
    </dev/null >>"$results.txt" 2>&1 || true
}

# measure TARGET URL: what both versions say of it.
measure() {
  local scenario
  mkdir -p "$scratch/$1"
  if [ ${#scenarios[@]} -eq 0 ]; then
    suite 0.1.16 "$1" "$2" --suite all
    suite 0.2.0-alpha.12 "$1" "$2" --requirements "$REVISION"
  fi
  for scenario in "${scenarios[@]}"; do
    suite 0.1.16 "$1" "$2" --scenario "$scenario"
    suite 0.2.0-alpha.12 "$1" "$2" --scenario "$scenario" --spec-version "$REVISION"
  done
}

# Only the fixture, and its own names: the suite asks for them exactly. The older suite ends none of its sessions, so
# there is room for a process for each of them.
servers_toml() {
  cat <<TOML
[servers.fixture]
command = "$here/.venv/bin/python"
args = ["$here/fixture.py"]
prefix = ""
sharing = "$1"
instances_max = 64
TOML
}

gateway_is_ready() {
  "$MCPCTL" --dir "$project" status --json 2>/dev/null |
    jq -e '.servers | length == 1 and all(.state == "ready")' >/dev/null 2>&1
}

# gateway SHARING: starts it, measures it, ends it.
gateway() {
  project=$scratch/project-$1
  mkdir -p "$project"
  servers_toml "$1" >"$project/servers.toml"
  daemon_start "$project"
  if ! wait_until "$READY_SECONDS" gateway_is_ready; then
    echo "the fixture behind the gateway was not ready within $READY_SECONDS s"
    "$MCPCTL" --dir "$project" status || true
    tail -n 30 "$project/stderr.txt"
    exit 1
  fi
  measure "$1" "$daemon_base/mcp"
  daemon_stop "$DRAIN_SECONDS"
  if [ "$daemon_status" -ne 0 ] || grep 'did not end in time' "$project/stderr.txt"; then
    echo "the daemon ($1) did not end well; its status is $daemon_status"
    status=1
  fi
}

status=0
fixture_start
measure direct "$fixture_url"
fixture_stop
for sharing in "${sharings[@]}"; do
  gateway "$sharing"
done
"$here/.node" "$here/compare.mjs" "$scratch" "$here/expected-failures.yml" "${scenarios[@]}" || status=1
if [ "$status" -ne 0 ]; then
  for sharing in "${sharings[@]}"; do
    echo "--- last lines of the daemon ($sharing)"
    tail -n 30 "$scratch/project-$sharing/stderr.txt"
  done
fi
exit "$status"
