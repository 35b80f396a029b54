#!/usr/bin/env bash
# Real, unmodified servers behind one gateway, asked by real clients: five servers from npm and PyPI, the official
# Python (both lines), TypeScript and Rust clients, FastMCP, LangChain, mcp-remote and the Inspector, over HTTP, SSE and
# stdio. The cases `features-*` and `two-clients` have a gateway of their own each, see `features.sh`; so have `eras-*` and
# `servers`, which run side by side: clients and servers of the SDKs in both eras, and more servers, see `eras.sh`.
#
#   tests/real/run.sh                 every case
#   tests/real/run.sh CASE…           only these; `stop` always comes last
#   tests/real/run.sh --list          the names of the cases
#   KEEP=1 tests/real/run.sh …        leaves the scratch folder with all logs
#
# Uses the release binaries, or those named by MCP_WRAPPER and MCPCTL. One line a check, and at the end
# `N passed, N not offered, N failed`. A run of every case also brings the table in docs/compatibility.md up to date,
# and fails when it was not.
set -euo pipefail

real=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/daemon.sh
source "$real/../../scripts/daemon.sh"

CASE_SECONDS=240
READY_SECONDS=90
# The daemon's own limits: calls in flight 10 s, then stdin 2 s, SIGTERM 5 s, SIGKILL.
DRAIN_SECONDS=25

cases=(
  python-http python-sse python-stdio python-auto
  python1-http python1-sse python1-stdio
  typescript-http typescript-sse typescript-stdio
  langchain-http langchain-sse langchain-stdio
  shared list-changed kill
  features-mcp-1 features-mcp-2 features-fastmcp features-langchain
  features-typescript features-mcp-remote features-inspector features-rmcp two-clients
  eras-python eras-fastmcp eras-typescript eras-rmcp servers
)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${cases[@]}" stop
  exit 0
fi
wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=("${cases[@]}")
for name in "${wanted[@]}"; do
  case " ${cases[*]} stop " in
    *" $name "*) ;;
    *) echo "no case \`$name\`; there are: ${cases[*]} stop" >&2; exit 2 ;;
  esac
done

"$real/install.sh"
daemon_programs
case " ${wanted[*]} " in
  *" features-rmcp "* | *" eras-"*)
    # A folder of its own for what is built, whatever the main package uses.
    cargo build --quiet --locked --manifest-path "$real/Cargo.toml" --target-dir "$real/target"
    ;;
esac

scratch=$(mktemp -d)
project=$scratch/project
mark=REAL_RUN_MARK=$(basename "$scratch")
n_passed=0
n_not_offered=0
n_failed=0
export MCP_WRAPPER MCPCTL
export FEATURES_OUT=$scratch/features.tsv ERAS_OUT=$scratch/eras.tsv
: >"$FEATURES_OUT"
: >"$ERAS_OUT"

leave() {
  daemon_stop 5
  local pid
  for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
  for pid in $(marked); do kill -KILL "$pid" 2>/dev/null || true; done
  if [ -n "${KEEP:-}" ]; then echo "kept: $scratch"; else rm -rf "$scratch"; fi
}
trap leave EXIT

# The processes that this run caused below the daemon: each bears our mark, or our mark with a suffix.
marked() {
  grep -lazE "^$mark(-|\$)" /proc/[0-9]*/environ 2>/dev/null | sed -E 's|/proc/([0-9]+)/.*|\1|' || true
}

none_is_marked() {
  [ -z "$(marked)" ]
}

passed() {
  n_passed=$((n_passed + 1))
  echo "ok   $1"
}

failed() {
  n_failed=$((n_failed + 1))
  echo "FAIL $1"
}

make_project() {
  mkdir -p "$project" "$scratch/files" "$scratch/repo" "$scratch/logs"
  echo 'A short file, with ünïcödé.' >"$scratch/files/hello.txt"
  # Long enough that a pipe and a socket take it in many parts.
  seq -f 'line %.0f of a long file' 1 10000 >"$scratch/files/long.txt"
  git -C "$scratch/repo" init --quiet --initial-branch=main
  git -C "$scratch/repo" -c user.name=test -c user.email=test@example.com -c commit.gpgsign=false \
    commit --quiet --allow-empty --message 'The only commit'
  servers_toml >"$project/servers.toml"
}

# `everything` by npx, with the shell and the node below it, as most people have it; the others without a wrapper.
servers_toml() {
  local env="${mark%%=*} = \"${mark#*=}\""
  cat <<TOML
[servers.everything]
command = "npx"
args = ["-y", "@modelcontextprotocol/server-everything"]
cwd = "$real"
env = { $env }

[servers.filesystem]
command = "$real/node_modules/.bin/mcp-server-filesystem"
args = ["$scratch/files"]
env = { $env }

[servers.memory]
command = "$real/node_modules/.bin/mcp-server-memory"
env = { MEMORY_FILE_PATH = "$scratch/memory.jsonl", $env }

[servers.time]
command = "$real/.venv/bin/mcp-server-time"
env = { $env }

[servers.git]
command = "$real/.venv/bin/mcp-server-git"
args = ["--repository", "$scratch/repo"]
env = { $env }
TOML
}

# What the clients need to know.
gateway_json() {
  jq -n --arg base "$daemon_base" --arg wrapper "$MCP_WRAPPER" --arg ctl "$MCPCTL" --arg project "$project" \
    --arg files "$scratch/files" --arg repo "$scratch/repo" --arg packages "$real" --arg mark "$mark" '{
      url: "\($base)/mcp", sse: "\($base)/sse",
      stdio: [$wrapper, "stdio", "--dir", $project], mcpctl: [$ctl, "--dir", $project],
      $files, $repo, $packages, $mark }'
}

all_ready() {
  http_ready || return 1
  "$MCPCTL" --dir "$project" status --json 2>/dev/null |
    jq -e '.servers | length == 5 and all(.state == "ready")' >/dev/null 2>&1
}

# By node, which the cases need anyway.
http_ready() {
  node -e 'fetch(process.argv[1]).then((r) => process.exit(r.status === 200 ? 0 : 1), () => process.exit(1))' \
    "$daemon_base/health/ready"
}

# run_case NAME COMMAND…: counts the lines of the client; one that checks nothing, or dies in between, has failed.
run_case() {
  local name=$1 status=0 output=$scratch/logs/$1.txt errors=$scratch/logs/$1.stderr.txt
  shift
  timeout --kill-after=10 "$CASE_SECONDS" "$@" </dev/null 2>"$errors" | tee "$output" || status=${PIPESTATUS[0]}
  count_case "$name" "$status"
}

# count_case NAME STATUS: of a case that has ended, whose lines have been shown.
count_case() {
  local name=$1 status=$2 output=$scratch/logs/$1.txt errors=$scratch/logs/$1.stderr.txt
  local ok bad none
  ok=$(grep -c '^ok ' "$output" || true)
  bad=$(grep -c '^FAIL ' "$output" || true)
  none=$(grep -c '^ok .*: not offered by ' "$output" || true)
  n_passed=$((n_passed + ok - none))
  n_not_offered=$((n_not_offered + none))
  n_failed=$((n_failed + bad))
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then failed "$name: ended with status $status"; bad=1; fi
  if [ "$status" -eq 0 ] && [ "$ok" -eq 0 ]; then failed "$name: checked nothing"; bad=1; fi
  if [ "$bad" -ne 0 ]; then
    echo "--- stderr of $name, the last lines"
    tail -n 40 "$errors"
    echo "---"
  fi
}

# Those of `eras.sh`, which mostly wait, side by side; each is shown when it has ended.
run_eras() {
  local name status
  local -A running=()
  for name in "$@"; do
    timeout --kill-after=10 "$CASE_SECONDS" "$real/eras.sh" "$name" \
      </dev/null >"$scratch/logs/$name.txt" 2>"$scratch/logs/$name.stderr.txt" &
    running[$name]=$!
  done
  for name in "$@"; do
    status=0
    wait "${running[$name]}" || status=$?
    cat "$scratch/logs/$name.txt"
    count_case "$name" "$status"
  done
}

run_named() {
  local name=$1 clients=$real/clients gateway=$scratch/gateway.json kind=${1#*-}
  case $name in
    python-auto) run_case "$name" "$real/.venv/bin/python" "$clients/python_client.py" "$name" http "$gateway" auto ;;
    python-*) run_case "$name" "$real/.venv/bin/python" "$clients/python_client.py" "$name" "$kind" "$gateway" ;;
    python1-*) run_case "$name" "$real/.venv-langchain/bin/python" "$clients/python_client.py" "$name" "$kind" "$gateway" ;;
    typescript-*) run_case "$name" node "$clients/typescript_client.mjs" "$name" "$kind" "$gateway" ;;
    langchain-*) run_case "$name" "$real/.venv-langchain/bin/python" "$clients/langchain_client.py" "$name" "${kind/#http/streamable_http}" "$gateway" ;;
    shared) run_case "$name" node "$clients/shared.mjs" "$name" "$gateway" ;;
    list-changed) run_case "$name" node "$clients/list_changed.mjs" "$name" "$gateway" ;;
    kill) run_case "$name" node "$clients/kill.mjs" "$name" "$gateway" ;;
    features-* | two-clients | eras-* | servers) ;; # after it
    stop) ;; # always, when these have ended
  esac
}

stop_case() {
  local running
  running=$(marked | wc -l)
  if [ "$running" -lt 5 ]; then
    failed "stop: only $running processes of the five servers ran before, so their absence proves nothing"
  fi
  local before=$SECONDS
  daemon_stop "$DRAIN_SECONDS"
  if [ "$daemon_status" -eq 0 ]; then
    passed "stop: SIGTERM ends the daemon with status 0, in $((SECONDS - before)) s"
  else
    failed "stop: the daemon ended with status $daemon_status after $((SECONDS - before)) s"
  fi
  if wait_until 2 none_is_marked; then
    passed "stop: none of the $running processes is left"
  else
    failed "stop: still running: $(marked | xargs -r ps -o pid=,args= -p 2>/dev/null | tr '\n' ';')"
  fi
}

# The tables of clients say what this run has seen.
table_case() {
  local said
  if said=$("$real/.venv/bin/python" "$real/table.py" "$FEATURES_OUT" "$ERAS_OUT" 2>&1); then
    passed "table: $said"
  else
    failed "table: $said"
  fi
}

make_project
daemon_start "$project"
if wait_until "$READY_SECONDS" all_ready; then
  passed "start: all five servers are ready after $SECONDS s"
else
  failed "start: not all five servers were ready within $READY_SECONDS s"
  "$MCPCTL" --dir "$project" status || true
  tail -n 30 "$project/stderr.txt"
  echo "$n_passed passed, $n_not_offered not offered, $n_failed failed"
  exit 1
fi
gateway_json >"$scratch/gateway.json"
for name in "${wanted[@]}"; do
  run_named "$name"
done
stop_case
of_both_eras=()
for name in "${wanted[@]}"; do
  case $name in
    features-* | two-clients) run_case "$name" "$real/features.sh" "$name" ;;
    eras-* | servers) of_both_eras+=("$name") ;;
  esac
done
if [ ${#of_both_eras[@]} -gt 0 ]; then run_eras "${of_both_eras[@]}"; fi
if [ $# -eq 0 ]; then table_case; fi
if [ "$n_failed" -ne 0 ]; then
  echo "--- last lines of the daemon"
  tail -n 30 "$project/stderr.txt"
fi
echo "$n_passed passed, $n_not_offered not offered, $n_failed failed"
[ "$n_failed" -eq 0 ]
