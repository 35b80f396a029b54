# shellcheck shell=bash
# One daemon of our own, for the scripts of this project: where it is, how it is started, how it ends.
# Sourced, never run. Ends nothing that it did not start.

project_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

daemon_pid=""    # process id, while it runs
daemon_base=""   # http://127.0.0.1:PORT
daemon_status="" # exit status once it ended

# Sets MCP_WRAPPER and MCPCTL to the release binaries, unless they are set already; builds them where they are absent.
daemon_programs() {
  local release="${CARGO_TARGET_DIR:-$project_top/target}/release"
  if [ -z "${MCP_WRAPPER:-}" ] && [ ! -x "$release/mcp-wrapper" ]; then
    (cd "$project_top" && cargo build --release --locked)
  fi
  MCP_WRAPPER=${MCP_WRAPPER:-$release/mcp-wrapper}
  MCPCTL=${MCPCTL:-$(dirname "$MCP_WRAPPER")/mcpctl}
  local program
  for program in "$MCP_WRAPPER" "$MCPCTL"; do
    [ -x "$program" ] || { echo "$program is not there; build it with: cargo build --release" >&2; return 1; }
  done
}

# daemon_start FOLDER [VARIABLE=VALUE…]: runs the daemon in FOLDER on a free port; its stderr goes to FOLDER/stderr.txt.
# Settings of the caller's own daemon do not reach it.
daemon_start() {
  local folder=$1
  shift
  : >"$folder/stderr.txt"
  (
    cd "$folder" || exit
    unset MCP_HOST MCP_DATA_DIR MCP_LOG_DIR MCP_SERVERS_FILE MCP_AUTH_TOKEN DEBUG_MODE
    exec env MCP_PORT=0 LOG_LEVEL="${LOG_LEVEL:-info}" "$@" "$MCP_WRAPPER"
  ) </dev/null >"$folder/stdout.txt" 2>"$folder/stderr.txt" &
  daemon_pid=$!
  wait_until 30 daemon_said_where "$folder/stderr.txt" || true
  if [ -z "$daemon_base" ]; then
    echo "the daemon did not say where it listens; its stderr:" >&2
    tail -n 30 "$folder/stderr.txt" >&2
    return 1
  fi
}

# Also true when there is nothing left to wait for, because the daemon ended.
daemon_said_where() {
  daemon_base=$(sed -nE 's|.*(http://127\.0\.0\.1:[0-9]+)/mcp.*|\1|p' "$1" | head -n 1)
  [ -n "$daemon_base" ] || daemon_is_gone
}

daemon_runs() {
  [ -n "$daemon_pid" ] && kill -0 "$daemon_pid" 2>/dev/null
}

# daemon_stop [SECONDS]: SIGTERM, then waits; daemon_status tells how it ended. A daemon that does not end is killed.
daemon_stop() {
  [ -n "$daemon_pid" ] || return 0
  kill -TERM "$daemon_pid" 2>/dev/null || true
  if ! wait_until "${1:-30}" daemon_is_gone; then
    kill -KILL "$daemon_pid" 2>/dev/null || true
  fi
  daemon_status=0
  # shellcheck disable=SC2034 # read by the sourcing script
  wait "$daemon_pid" 2>/dev/null || daemon_status=$?
  daemon_pid=""
}

daemon_is_gone() {
  ! daemon_runs
}

# wait_until SECONDS COMMAND…: true as soon as the command is; false when it was not within that time.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# Whether a process still does anything: one that ended and that nobody has waited for yet does not.
is_alive() {
  kill -0 "$1" 2>/dev/null && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"
}

# The process ids of the children of a process, one a line.
children_of() {
  if [ -r /proc/self/stat ]; then
    # The name, in brackets, may hold spaces; the parent's id is the second field after it.
    sed -nE "s/^([0-9]+) \(.*\) [A-Za-z] $1 .*/\1/p" /proc/[0-9]*/stat 2>/dev/null || true
  else
    ps -A -o pid=,ppid= | awk -v parent="$1" '$2 == parent { print $1 }'
  fi
}
