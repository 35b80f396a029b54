#!/usr/bin/env bash
# A daemon in a scratch folder with the demo child, ready to poke; Ctrl-C ends it and removes the folder.
#
#   scripts/dev.sh           a debug build
#   PORT=9000 scripts/dev.sh on that port instead of a free one
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cargo build --manifest-path "$top/Cargo.toml" --bins
bin=${CARGO_TARGET_DIR:-$top/target}/debug
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/servers.toml" <<'TOML'
[servers.tickets]
command = "mcp-wrapper"
args = ["demo", "tickets"]
TOML

cat <<TEXT
project folder: $scratch
in another shell: $bin/mcpctl --dir $scratch status
TEXT
cd "$scratch"
# In a process group of its own, so that Ctrl-C reaches it once, by the hand of this script.
set -m
env -u MCP_HOST -u MCP_DATA_DIR -u MCP_LOG_DIR -u MCP_SERVERS_FILE -u MCP_AUTH_TOKEN \
  MCP_PORT="${PORT:-0}" LOG_LEVEL="${LOG_LEVEL:-debug}" "$bin/mcp-wrapper" </dev/null &
daemon=$!
trap 'kill -TERM "$daemon" 2>/dev/null || true' INT TERM HUP
status=0
wait "$daemon" || status=$?
# A signal to this script ends the first wait early; the daemon still has to end its children.
while kill -0 "$daemon" 2>/dev/null; do
  status=0
  wait "$daemon" || status=$?
done
exit "$status"
