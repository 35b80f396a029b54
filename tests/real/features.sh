#!/usr/bin/env bash
# Every feature of the protocol, one by one, with one real client, over every transport that it has.
#
#   tests/real/features.sh CASE     one of those that `--list` names; the programs come from `run.sh`, which builds them
#   FEATURES_OUT=FILE               gets one line a feature: feature, client, transport, pass|fail|not-offered, detail
#
# Behind a gateway of its own stand two entries of the one server `everything`: `every`, which clients share, and
# `own`, of which each session has a process. What goes into and comes out of each process is taped, so that a case
# can ask what the server was told and what it said, whatever the client makes of it.
set -euo pipefail

real=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/daemon.sh
source "$real/../../scripts/daemon.sh"

READY_SECONDS=60
DRAIN_SECONDS=25
cases=(
  features-mcp-1 features-mcp-2 features-fastmcp features-langchain
  features-typescript features-mcp-remote features-inspector features-rmcp two-clients
)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${cases[@]}"
  exit 0
fi
name=${1:?which case?}
daemon_programs
scratch=$(mktemp -d)
project=$scratch/project

leave() {
  daemon_stop 5
  if [ -n "${KEEP:-}" ]; then echo "kept: $scratch" >&2; else rm -rf "$scratch"; fi
}
trap leave EXIT

# The tapes are of one process each: its number is in their names.
servers_toml() {
  local server sharing
  for server in every own; do
    sharing=shared
    [ "$server" = every ] || sharing=per-session
    cat <<TOML
[servers.$server]
command = "sh"
args = ["-c", "tee \$0.in.\$\$ | \$1 | tee \$0.out.\$\$", "$scratch/tapes/$server", "$real/node_modules/.bin/mcp-server-everything"]
sharing = "$sharing"
backoff_initial = "1s"

TOML
  done
  cat <<TOML
[servers.files]
command = "$real/node_modules/.bin/mcp-server-filesystem"
args = ["$scratch/files"]
TOML
}

gateway_json() {
  jq -n --arg base "$daemon_base" --arg wrapper "$MCP_WRAPPER" --arg ctl "$MCPCTL" --arg project "$project" \
    --arg files "$scratch/files" --arg tapes "$scratch/tapes" --arg packages "$real" --arg scratch "$scratch" '{
      url: "\($base)/mcp", sse: "\($base)/sse",
      stdio: [$wrapper, "stdio", "--dir", $project], mcpctl: [$ctl, "--dir", $project],
      $files, $tapes, $packages, $scratch }'
}

all_ready() {
  "$MCPCTL" --dir "$project" status --json 2>/dev/null |
    jq -e '.servers | length == 3 and all(.state == "ready")' >/dev/null 2>&1
}

# A Node.js that is new enough for the Inspector: that in its folder, or the machine's own.
node_of_inspector() {
  local program
  for program in "$real"/inspector/node_modules/node-linux-*/bin/node node; do
    if "$program" -e 'process.exit(Number(process.versions.node.split(".")[0]) < 22 ? 1 : 0)' 2>/dev/null; then
      echo "$program"
      return
    fi
  done
  echo "this machine lacks, for the Inspector: Node.js 22 or newer (it is only brought along for Linux)" >&2
  return 1
}

# python_features FOLDER LIBRARY: of the virtual environment in that folder.
python_features() {
  "$real/$1/bin/python" "$real/clients/features.py" "$name" "$scratch/gateway.json" "$2" http sse stdio
}

run_client() {
  local clients=$real/clients gateway=$scratch/gateway.json
  case $name in
    features-mcp-1) python_features .venv-langchain mcp ;;
    features-mcp-2) python_features .venv mcp ;;
    features-fastmcp) python_features .venv-fastmcp fastmcp ;;
    features-langchain) python_features .venv-langchain langchain ;;
    features-typescript) node "$clients/features.mjs" "$name" "$gateway" typescript http sse stdio ;;
    features-mcp-remote) node "$clients/features.mjs" "$name" "$gateway" mcp-remote http sse ;;
    features-inspector) node "$clients/inspector.mjs" "$name" "$gateway" "$(node_of_inspector)" ;;
    features-rmcp) "$real/target/debug/rmcp-client" "$name" "$gateway" http stdio ;;
    two-clients) node "$clients/two_clients.mjs" "$name" "$gateway" ;;
    *) echo "no case \`$name\`; there are: ${cases[*]}" >&2; return 2 ;;
  esac
}

mkdir -p "$project" "$scratch/files" "$scratch/tapes"
servers_toml >"$project/servers.toml"
daemon_start "$project"
if ! wait_until "$READY_SECONDS" all_ready; then
  echo "not all three servers were ready within $READY_SECONDS s" >&2
  "$MCPCTL" --dir "$project" status >&2 || true
  tail -n 30 "$project/stderr.txt" >&2
  exit 1
fi
gateway_json >"$scratch/gateway.json"
status=0
run_client || status=$?
if [ "$status" -ne 0 ]; then
  { echo "last lines of the daemon:"; tail -n 30 "$project/stderr.txt"; } >&2
fi
before=$SECONDS
daemon_stop "$DRAIN_SECONDS"
if [ "$daemon_status" -eq 0 ]; then
  echo "ok   $name: SIGTERM ends the daemon with status 0, in $((SECONDS - before)) s"
else
  echo "FAIL $name: the daemon ended with status $daemon_status after $((SECONDS - before)) s"
  status=1
fi
exit "$status"
