#!/usr/bin/env bash
# Measures a gateway from outside, and writes docs/reliability.md: what survives it, how soon callers hear of a death,
# calls that are executed twice or never answered, memory, crash loops, lost writes, an hour of mixed chaos.
#
#   scripts/reliability.sh                        every figure in full, about an hour and three quarters
#   scripts/reliability.sh --quick                every figure in its smallest size, in less than a minute; writes nothing
#   scripts/reliability.sh --peers                the gateways of tests/reliability/peers.toml beside ours
#   scripts/reliability.sh --only chaos --minutes 10
#   scripts/reliability.sh --gateway NAME --command 'prog --config {config} --port {port}' \
#     --url 'http://127.0.0.1:{port}/mcp'         another gateway; {config} holds the children as `mcpServers`
#   scripts/reliability.sh --help                 all options
#
# Needs Linux, Python 3.9 or newer (3.11 for --peers) and nothing that is not in it. Status 1 when a promise of ours
# does not hold.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

[ -r /proc/self/smaps_rollup ] || { echo "the figures are read from /proc, which only Linux has" >&2; exit 2; }
command -v python3 >/dev/null || { echo "python3 is missing" >&2; exit 2; }
release=${CARGO_TARGET_DIR:-$top/target}/release
for program in mcp-wrapper mcpctl fake-child; do
  [ -x "$release/$program" ] || { (cd "$top" && cargo build --release --locked); break; }
done
for word in "$@"; do
  if [ "$word" = --peers ]; then "$top/tests/reliability/install.sh"; fi
done
exec python3 "$top/tests/reliability" "$@"
