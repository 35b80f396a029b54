#!/usr/bin/env bash
# The official MCP conformance suite against the gateway with a stdio fixture behind it, and against the same fixture served
# directly, which is the measure. For each revision:
#
#   2025-11-25  in two versions of the suite; the fixture is shared by all sessions, and then a process for each
#   2026-07-28  in one; the fixture speaks 2026-07-28, and then revisions with a handshake only
#
#   tests/conformance/run.sh                      every scenario of both
#   REVISIONS=2026-07-28 tests/conformance/run.sh …  of these revisions, in words separated by spaces
#   tests/conformance/run.sh SCENARIO…            only these, which must be in every version that is run
#   KEEP=1 tests/conformance/run.sh …             leaves the scratch folder with all results and logs
#
# Uses the release binaries, or those named by MCP_WRAPPER and MCPCTL. Fails where the gateway passes less than the
# fixture directly, unless expected-failures-REVISION.yml says so, and where that file says so wrongly. One line a scenario,
# and at the end of each revision `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/daemon.sh
source "$here/../../scripts/daemon.sh"

# A whole suite takes 15 s, most of it for one scenario; one that hangs in every scenario is cut off.
SUITE_SECONDS=240
READY_SECONDS=30
DRAIN_SECONDS=25

read -ra revisions <<<"${REVISIONS:-2025-11-25 2026-07-28}"
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

# fixture_start REVISION
fixture_start() {
  fixture_url=""
  : >"$scratch/fixture.txt"
  "$here/.venv/bin/python" "$(fixture_of "$1")" --http 0 </dev/null >"$scratch/fixture.txt" 2>&1 &
  fixture_pid=$!
  wait_until "$READY_SECONDS" fixture_said_where || true
  if [ -z "$fixture_url" ]; then
    echo "the fixture did not say where it listens; it said:" >&2
    tail -n 30 "$scratch/fixture.txt" >&2
    return 1
  fi
}

fixture_of() {
  case $1 in
    2025-11-25) echo "$here/fixture.py" ;;
    2026-07-28) echo "$here/fixture_2026.py" ;;
    *) echo "there is no fixture for $1" >&2; return 1 ;;
  esac
}

# The gateways that are measured.
targets_of() {
  case $1 in
    2025-11-25) echo shared per-session ;;
    2026-07-28) echo modern legacy ;;
  esac
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

# suite VERSION REVISION/TARGET URL WORD…: its status tells only what its results tell in detail, so it is not looked at;
# one that is cut off, or dies, leaves scenarios without results.
suite() {
  local version=$1 results=$scratch/$2/$1 url=$3 program
  shift 3
  program=$here/node_modules/conformance-$(cut -d. -f1,2 <<<"$version")/dist/index.js
  timeout --kill-after=10 "$SUITE_SECONDS" "$here/.node" "$program" server --url "$url" --output-dir "$results" "$@" \
    </dev/null >>"$results.txt" 2>&1 || true
}

# measure REVISION TARGET URL: what each version says of it. The older one knows nothing of 2026-07-28.
measure() {
  local revision=$1 folder=$1/$2 url=$3 scenario
  mkdir -p "$scratch/$folder"
  if [ ${#scenarios[@]} -eq 0 ]; then
    [ "$revision" != 2025-11-25 ] || suite 0.1.16 "$folder" "$url" --suite all
    suite 0.2.0-alpha.12 "$folder" "$url" --requirements "$revision"
  fi
  for scenario in "${scenarios[@]}"; do
    [ "$revision" != 2025-11-25 ] || suite 0.1.16 "$folder" "$url" --scenario "$scenario"
    # Those of an extension belong to no revision, and are run when they are named all the same.
    suite 0.2.0-alpha.12 "$folder" "$url" --scenario "$scenario" --spec-version "$revision" --force
  done
}

# servers_toml REVISION TARGET: only the fixture, and its own names: the suite asks for them exactly. The older suite ends
# none of its sessions, so there is room for a process for each of them.
servers_toml() {
  local sharing=$2 arguments
  arguments="\"$(fixture_of "$1")\""
  if [ "$1" = 2026-07-28 ]; then
    sharing=shared
    arguments="$arguments, \"$2\""
  fi
  cat <<TOML
[servers.fixture]
command = "$here/.venv/bin/python"
args = [$arguments]
prefix = ""
sharing = "$sharing"
instances_max = 64
TOML
}

gateway_is_ready() {
  "$MCPCTL" --dir "$project" status --json 2>/dev/null |
    jq -e '.servers | length == 1 and all(.state == "ready")' >/dev/null 2>&1
}

# gateway REVISION TARGET: starts it, measures it, ends it.
gateway() {
  project=$scratch/$1/project-$2
  mkdir -p "$project"
  servers_toml "$1" "$2" >"$project/servers.toml"
  daemon_start "$project"
  if ! wait_until "$READY_SECONDS" gateway_is_ready; then
    echo "the fixture behind the gateway was not ready within $READY_SECONDS s"
    "$MCPCTL" --dir "$project" status || true
    tail -n 30 "$project/stderr.txt"
    exit 1
  fi
  measure "$1" "$2" "$daemon_base/mcp"
  daemon_stop "$DRAIN_SECONDS"
  if [ "$daemon_status" -ne 0 ] || grep 'did not end in time' "$project/stderr.txt"; then
    echo "the daemon ($1, $2) did not end well; its status is $daemon_status"
    status=1
  fi
}

# run REVISION
run() {
  local revision=$1 target targets failed=0
  read -ra targets <<<"$(targets_of "$revision")"
  fixture_start "$revision"
  measure "$revision" direct "$fixture_url"
  fixture_stop
  for target in "${targets[@]}"; do
    gateway "$revision" "$target"
  done
  echo "--- $revision"
  "$here/.node" "$here/compare.mjs" "$revision" "$scratch/$revision" "$here/expected-failures-$revision.yml" \
    "${scenarios[@]}" || failed=1
  [ "$failed" -ne 0 ] || return 0
  status=1
  for target in "${targets[@]}"; do
    echo "--- last lines of the daemon ($revision, $target)"
    tail -n 30 "$scratch/$revision/project-$target/stderr.txt"
  done
}

status=0
for revision in "${revisions[@]}"; do
  run "$revision"
done
exit "$status"
