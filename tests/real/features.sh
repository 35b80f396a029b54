#!/usr/bin/env bash
# Every feature of the protocol, one by one, with one real client, over every transport that it has.
#
#   tests/real/features.sh CASE     one of those that `--list` names; the programs come from `run.sh`'s folders
#   FEATURES_OUT=FILE               gets one line a feature: feature, client, transport, pass|fail|not-offered, detail
#
# Behind a gateway of its own stand two entries of the one server `everything`: `every`, which clients share, and
# `own`, of which each session has a process. What each process is told is taped, so that a case can ask what reached
# the server, whatever the client makes of it.
set -euo pipefail

real=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/daemon.sh
source "$real/../../scripts/daemon.sh"

READY_SECONDS=60
DRAIN_SECONDS=25
cases=(features-mcp-1 features-mcp-2 features-fastmcp features-langchain)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${cases[@]}"
  exit 0
fi
name=${1:?which case?}
case " ${cases[*]} " in
  *" $name "*) ;;
  *) echo "no case \`$name\`; there are: ${cases[*]}" >&2; exit 2 ;;
esac
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
args = ["-c", "tee \$0.in.\$\$ | \$1", "$scratch/tapes/$server", "$real/node_modules/.bin/mcp-server-everything"]
sharing = "$sharing"

TOML
  done
}

gateway_json() {
  jq -n --arg base "$daemon_base" --arg wrapper "$MCP_WRAPPER" --arg project "$project" --arg tapes "$scratch/tapes" '{
      url: "\($base)/mcp", sse: "\($base)/sse", stdio: [$wrapper, "stdio", "--dir", $project], $tapes }'
}

all_ready() {
  "$MCPCTL" --dir "$project" status --json 2>/dev/null |
    jq -e '.servers | length == 2 and all(.state == "ready")' >/dev/null 2>&1
}

# python_features FOLDER LIBRARY: of the virtual environment in that folder.
python_features() {
  "$real/$1/bin/python" "$real/clients/features.py" "$name" "$scratch/gateway.json" "$2" http sse stdio
}

run_client() {
  case $name in
    features-mcp-1) python_features .venv-langchain mcp ;;
    features-mcp-2) python_features .venv mcp ;;
    features-fastmcp) python_features .venv-fastmcp fastmcp ;;
    features-langchain) python_features .venv-langchain langchain ;;
  esac
}

mkdir -p "$project" "$scratch/tapes"
servers_toml >"$project/servers.toml"
daemon_start "$project"
if ! wait_until "$READY_SECONDS" all_ready; then
  echo "not all servers were ready within $READY_SECONDS s" >&2
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
