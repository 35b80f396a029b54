#!/usr/bin/env bash
# Peers of both eras, each spoken to as it speaks by itself: the SDKs' clients in each way that they can begin, with
# servers of the SDKs in every era behind the gateway; and servers as they come from npm and PyPI.
#
#     tests/real/eras.sh CASE    one of those that `--list` names; the programs come from `run.sh`, which builds them
#     ERAS_OUT=FILE              gets one line a client and server: server, client, mode, transport, pass|fail, features
#
# Each case has a gateway of its own, and they can run side by side.
set -euo pipefail

real=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/daemon.sh
source "$real/../../scripts/daemon.sh"

READY_SECONDS=120
DRAIN_SECONDS=25
# How a server of both eras is declared whose tools ask by the calls of the older one.
OLDER_CALLS='era = "legacy"'
cases=(eras-python eras-fastmcp eras-typescript eras-rmcp servers)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${cases[@]}"
  exit 0
fi
name=${1:?which case?}
daemon_programs
scratch=$(mktemp -d)
project=$scratch/project
mark=REAL_RUN_MARK=$(basename "$scratch")

leave() {
  daemon_stop 5
  if [ -n "${KEEP:-}" ]; then echo "kept: $scratch" >&2; else rm -rf "$scratch"; fi
}
trap leave EXIT

# server NAME PROGRAM [ARGUMENT…]
server() {
  local name=$1 program=$2
  shift 2
  printf '[servers.%s]\ncommand = "%s"\nargs = %s\n' "$name" "$program" "$(jq -nc '$ARGS.positional' --args "$@")"
  printf 'env = { %s = "%s" }\n' "${mark%%=*}" "${mark#*=}-$name"
}

# What these have is in servers/asking.json.
asking_toml() {
  local python=$real/.venv/bin/python fastmcp=$real/.venv-fastmcp/bin/python servers=$real/servers built=$real/target/debug
  server py "$python" "$servers/asking.py" dual py
  server py-handshake "$python" "$servers/asking.py" legacy py-handshake
  server py-own "$python" "$servers/asking.py" legacy py-own
  echo 'sharing = "per-session"'
  server ts node "$servers/asking_2.mjs" dual ts
  server ts-handshake node "$servers/asking_2.mjs" legacy ts-handshake
  server fastmcp "$fastmcp" "$servers/asking_fastmcp.py" results fastmcp
  server fastmcp-handshake "$fastmcp" "$servers/asking_fastmcp.py" calls fastmcp-handshake
  echo "$OLDER_CALLS"
  server rmcp-3 "$built/modern_3_9"
  server rmcp-1 "$built/old_1_8"
  server rmcp-0 "$built/old_0_8"
}

catalogue_toml() {
  jq -r --arg real "$real" --arg scratch "$scratch" --arg mark "$mark" '
    to_entries[] | .key as $name | .value |
    ($mark | capture("(?<key>.*)=(?<value>.*)")) as $mark |
    (.env // {}) + { ($mark.key): "\($mark.value)-\($name)" } |
    "env = { \(to_entries | map("\(.key) = \(.value | tojson)") | join(", ")) }"' "$real/servers/catalogue.json" >"$scratch/env"
  jq -r --arg real "$real" --arg scratch "$scratch" '
    to_entries[] | "[servers.\(.key)]",
    "command = \("\($real)/\(.value.command[0])" | tojson)",
    "args = \(.value.command[1:] | map(sub("\\$SCRATCH"; $scratch)) | tojson)"' "$real/servers/catalogue.json" |
    awk -v env="$scratch/env" '{ print } /^args = / { getline line <env; print line }'
}

servers_toml() {
  if [ "$name" = servers ]; then catalogue_toml; else asking_toml; fi
}

known() {
  if [ "$name" = servers ]; then echo "$real/servers/catalogue.json"; else echo "$real/servers/asking.json"; fi
}

gateway_json() {
  jq -n --arg base "$daemon_base" --arg wrapper "$MCP_WRAPPER" --arg ctl "$MCPCTL" --arg project "$project" --arg mark "$mark" '{
      url: "\($base)/mcp", stdio: [$wrapper, "stdio", "--dir", $project], mcpctl: [$ctl, "--dir", $project], $mark }'
}

all_ready() {
  "$MCPCTL" --dir "$project" status --json 2>/dev/null >"$scratch/status.json" || return 1
  jq -e --slurpfile known "$(known)" \
    '.servers | length == ($known[0] | length) and all(.state == "ready" and .n_tools > 0)' "$scratch/status.json" >/dev/null
}

# A server of both eras that is slower than the gateway waits is greeted, and its late answer kept for its next start:
# here, where so many start at once, that is at once, each when the others are ready.
start_late_ones_again() {
  local round late
  for round in 1 2 3; do
    late=$(jq -r --slurpfile known "$(known)" \
      'first(.servers[] | select(.probe != null and .era != $known[0][.name].era) | .name) // empty' "$scratch/status.json")
    [ -n "$late" ] || return 0
    echo "round $round: $late starts again" >&2
    "$MCPCTL" --dir "$project" restart "$late" >/dev/null
    wait_until "$READY_SECONDS" all_ready
  done
}

# Each is spoken to as asking.json says, and was started at most once more to find that out; none has failed.
check_eras() {
  local wrong
  wrong=$(jq -c --slurpfile known "$real/servers/asking.json" '.servers[] | select(
      .era != $known[0][.name].era or .generation > 2 or .n_failures != 0) | { name, era, generation, n_failures, probe }' "$scratch/status.json")
  if [ -z "$wrong" ]; then
    echo "ok   $name: each server is spoken to in its era, after one more start at most"
  else
    echo "FAIL $name: spoken to otherwise, or started too often: ${wrong//$'\n'/ }"
    status=1
  fi
}

run_client() {
  local clients=$real/clients gateway=$scratch/gateway.json
  case $name in
    eras-python) "$real/.venv/bin/python" "$clients/eras.py" "$name" "$gateway" mcp ;;
    eras-fastmcp) "$real/.venv-fastmcp/bin/python" "$clients/eras.py" "$name" "$gateway" fastmcp ;;
    eras-typescript) node "$clients/eras.mjs" "$name" "$gateway" ;;
    eras-rmcp) "$real/target/debug/rmcp-client" "$name" "$gateway" eras "$(known)" ;;
    servers) "$real/.venv/bin/python" "$clients/catalogue.py" "$name" "$gateway" ;;
    *) echo "no case \`$name\`; there are: ${cases[*]}" >&2; return 2 ;;
  esac
}

none_is_marked() {
  ! grep -lazE "^$mark(-|\$)" /proc/[0-9]*/environ >/dev/null 2>&1
}

mkdir -p "$project"
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
start_late_ones_again
[ "$name" = servers ] || check_eras
run_client || status=$?
if [ "$status" -ne 0 ]; then
  { echo "last lines of the daemon:"; tail -n 30 "$project/stderr.txt"; } >&2
fi
before=$SECONDS
daemon_stop "$DRAIN_SECONDS"
if [ "$daemon_status" -eq 0 ] && wait_until 2 none_is_marked; then
  echo "ok   $name: SIGTERM ends the daemon with status 0, in $((SECONDS - before)) s, and no process is left"
else
  echo "FAIL $name: the daemon ended with status $daemon_status after $((SECONDS - before)) s, or a process is left"
  status=1
fi
exit "$status"
