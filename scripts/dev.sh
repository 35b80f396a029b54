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
# The daemon gets Ctrl-C from the terminal itself; this script waits until it has ended its children.
trap : INT TERM

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
env -u MCP_HOST -u MCP_DATA_DIR -u MCP_LOG_DIR -u MCP_SERVERS_FILE -u MCP_AUTH_TOKEN \
  MCP_PORT="${PORT:-0}" LOG_LEVEL="${LOG_LEVEL:-debug}" "$bin/mcp-wrapper"
