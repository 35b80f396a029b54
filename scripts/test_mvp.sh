#!/usr/bin/env bash
# The first promise, from outside: one daemon on a free port with scratch folders, asked with curl and jq only.
# One line a step; ends at the first step that does not hold, with what came instead.
#
#   scripts/test_mvp.sh                   the release binaries, built when they are absent
#   MCP_WRAPPER=PATH scripts/test_mvp.sh  another binary; mcpctl is the one beside it
set -euo pipefail

# shellcheck source=scripts/daemon.sh
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"

for tool in curl jq; do
  command -v "$tool" >/dev/null || { echo "$tool is missing; on Debian: apt-get install $tool" >&2; exit 2; }
done
daemon_programs

scratch=$(mktemp -d)
streams=()
children=""
n_steps=0
step="before the first step"

leave() {
  local process
  [ -z "$daemon_pid" ] || children=$(children_of "$daemon_pid")
  for process in ${streams[@]+"${streams[@]}"}; do kill "$process" 2>/dev/null || true; done
  daemon_stop 15
  # What a daemon that fails this test left behind.
  for process in $children; do kill -KILL "$process" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap leave EXIT

step() {
  step=$1
}

holds() {
  n_steps=$((n_steps + 1))
  echo "ok   $step"
}

# fails WHAT-CAME: the end.
fails() {
  echo "FAIL $step: $1"
  if [ -s "$scratch/stderr.txt" ]; then
    echo "--- last lines of the daemon"
    tail -n 20 "$scratch/stderr.txt"
  fi
  exit 1
}

# ask STATUS CURL-ARGUMENTS…: one request; body and headers are kept in files.
ask() {
  local expected=$1 status
  shift
  status=$(curl -sS -m 20 -D "$scratch/headers" -o "$scratch/body" -w '%{http_code}' "$@" 2>"$scratch/curl") ||
    fails "no answer: $(cat "$scratch/curl")"
  [[ "$status" =~ ^($expected)$ ]] || fails "status $status instead of $expected: $(head -c 600 "$scratch/body")"
}

# post STATUS JSON [CURL-ARGUMENTS…]: one message to /mcp, within the session once there is one.
session=()
post() {
  local expected=$1 message=$2
  shift 2
  ask "$expected" -X POST "$daemon_base/mcp" -H 'Content-Type: application/json' \
    -H 'Accept: application/json, text/event-stream' ${session[@]+"${session[@]}"} "$@" -d "$message"
}

header() {
  sed -nE "s/^$1: *([^[:space:]]*).*/\1/Ip" "$scratch/headers" | head -n 1
}

# The answer with this id, be it the body or one event of a stream.
answer() {
  case $(header content-type) in
    text/event-stream*) sed -n 's/^data: *//p' "$scratch/body" | grep -v '^$' ;;
    *) cat "$scratch/body" ;;
  esac | jq -c "select(.id == $1)"
}

# is JSON JQ-CONDITION
is() {
  jq -e "$2" >/dev/null 2>&1 <<<"$1" || fails "not \`$2\`: $(head -c 600 <<<"$1")"
}

# stream NAME CURL-ARGUMENTS…: opens an event stream that stays open; its events gather in a file of that name.
stream() {
  local name=$1
  shift
  : >"$scratch/$name"
  curl -sSN -m 120 -D "$scratch/$name.headers" -o "$scratch/$name" -H 'Accept: text/event-stream' "$@" 2>/dev/null &
  streams+=("$!")
  wait_until 10 grep -qi '^content-type: *text/event-stream' "$scratch/$name.headers" 2>/dev/null ||
    fails "no event stream: $(head -c 300 "$scratch/$name.headers" 2>/dev/null)"
}

none_is_alive() {
  local one
  for one in "$@"; do
    if is_alive "$one"; then return 1; fi
  done
}

initialize() {
  printf '{"jsonrpc":"2.0","id":%s,"method":"initialize","params":{"protocolVersion":"%s","capabilities":{},"clientInfo":{"name":"test_mvp","version":"1"}}}' "$1" "$2"
}

step "the daemon starts on a free port and says where"
daemon_start "$scratch" MCP_DATA_DIR="$scratch/data" MCP_LOG_DIR="$scratch/logs" \
  MCP_SERVERS_FILE="$project_top/servers.toml" || fails "see above"
holds

step "GET /health/ready becomes 200 when every server is up"
is_ready() { [ "$(curl -s -m 5 -o "$scratch/body" -w '%{http_code}' "$daemon_base/health/ready")" = 200 ]; }
wait_until 30 is_ready || fails "$(cat "$scratch/body")"
holds

step "GET /health says healthy, with the time"
ask 200 "$daemon_base/health"
is "$(cat "$scratch/body")" '.status == "healthy" and (.timestamp | tostring | length > 0)'
holds

step "GET /health/live is 200"
ask 200 "$daemon_base/health/live"
holds

step "GET / says what this is"
ask 200 "$daemon_base/"
grep -q 'mcp-wrapper' "$scratch/body" || fails "$(head -c 300 "$scratch/body")"
holds

step "initialize gives a session id and names the server"
post 200 "$(initialize 1 2025-11-25)"
is "$(answer 1)" '.result.serverInfo.name == "mcp-wrapper" and .result.protocolVersion == "2025-11-25"'
session_id=$(header mcp-session-id)
[ -n "$session_id" ] || fails "no Mcp-Session-Id among: $(cat "$scratch/headers")"
session=(-H "Mcp-Session-Id: $session_id" -H 'MCP-Protocol-Version: 2025-11-25')
holds

step "notifications/initialized is accepted with 202"
post 202 '{"jsonrpc":"2.0","method":"notifications/initialized"}'
holds

step "tools/list offers the demo child's tickets__search_tickets"
post 200 '{"jsonrpc":"2.0","id":2,"method":"tools/list"}'
is "$(answer 2)" '[.result.tools[].name] | index("tickets__search_tickets") != null'
holds

step "GET /mcp opens an event stream"
stream events "$daemon_base/mcp" "${session[@]}"
events_pid=${streams[-1]}
holds

step "a tool call finds a ticket while the event stream is open"
post 200 '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"tickets__search_tickets","arguments":{"status":"open"}}}'
is "$(answer 3)" '.result.isError != true and (.result.structuredContent.tickets | length > 0)'
is_alive "$events_pid" || fails "the event stream was closed by the call"
holds

step "an unknown tool is error -32602 with status 200"
post 200 '{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"tickets__nothing_of_that_name","arguments":{}}}'
is "$(answer 4)" '.error.code == -32602'
holds

step "a page of another site is refused with 403"
post 403 '{"jsonrpc":"2.0","id":5,"method":"ping"}' -H 'Origin: http://evil.example'
holds

step "HTTP+SSE: GET /sse names the endpoint for messages"
stream old "$daemon_base/sse"
wait_until 10 grep -q '^event: *endpoint' "$scratch/old" || fails "$(cat "$scratch/old")"
wait_until 10 grep -q '^data: *[^[:space:]]*/messages' "$scratch/old" || fails "$(cat "$scratch/old")"
messages=$(sed -nE 's/^data: *([^[:space:]]+).*/\1/p' "$scratch/old" | head -n 1)
case $messages in http://*) ;; *) messages="$daemon_base$messages" ;; esac
holds

step "HTTP+SSE: initialize sent to it is answered on the stream"
ask 202 -X POST "$messages" -H 'Content-Type: application/json' -d "$(initialize 71 2024-11-05)"
was_answered() { sed -n 's/^data: *//p' "$scratch/old" | grep '^{' | jq -e "select(.id == $1) | .result.protocolVersion == \"2024-11-05\"" >/dev/null 2>&1; }
wait_until 10 was_answered 71 || fails "$(cat "$scratch/old")"
holds

step "the event stream of /mcp gets a heartbeat within 20 s"
wait_until 20 grep -q '^:' "$scratch/events" || fails "$(cat "$scratch/events")"
is_alive "$events_pid" || fails "it was closed"
holds

step "DELETE /mcp ends the session and its stream"
ask '200|202|204' -X DELETE "$daemon_base/mcp" "${session[@]}"
wait_until 5 none_is_alive "$events_pid" || fails "the stream is still open after 5 s"
holds

step "a message in an ended session is answered with 404"
post 404 '{"jsonrpc":"2.0","id":6,"method":"ping"}'
holds

step "SIGTERM ends the daemon with status 0"
children=$(children_of "$daemon_pid")
[ -n "$children" ] || fails "it had no child process, so the next step would prove nothing"
daemon_stop 20
[ "$daemon_status" = 0 ] || fails "status $daemon_status"
holds

step "no child process and no open stream is left"
# shellcheck disable=SC2086 # one word a process
wait_until 5 none_is_alive $children || fails "of the processes ${children//$'\n'/ } some still run"
wait_until 5 none_is_alive "${streams[@]}" || fails "a stream is still open"
holds

echo "$n_steps passed, 0 failed"
