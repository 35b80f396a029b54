#!/usr/bin/env bash
# Measures how fast the gateway is, beside an HTTP server that does nothing else (bare hyper), the child's own stdio and
# other gateways, in interleaved rounds; says which gates are held, and writes docs/performance.md.
#
#   scripts/bench.sh                     everything, five rounds: about ten minutes on two quiet cores
#   scripts/bench.sh --quick             one short round, which shows that the bench works; writes nothing
#   scripts/bench.sh --only calls        calls beside other gateways; `--only ours`: doors, starts, streams
#   scripts/bench.sh --peer 'NAME=COMMAND {config} {port}'   one more gateway
#   scripts/bench.sh --install-peers     first installs the other gateways, pinned, into ignored folders
#   scripts/bench.sh --instructions      instructions per call under callgrind; status 1 when they have grown by 2 %
#   scripts/bench.sh --parts [FILTER]    single parts: framer, envelope, names, …
#   scripts/bench.sh --help              all options
#
# Needs Linux, Rust and Python 3.11 or newer; `--instructions` needs valgrind.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The best peer in Rust.
PEER_CRATE=mcp-proxy
PEER_VERSION=0.6.0

[ -r /proc/self/smaps_rollup ] || { echo "the figures are read from /proc, which only Linux has" >&2; exit 2; }
target=${CARGO_TARGET_DIR:-$top/target}
bench=(--manifest-path "$top/benches/gateway/Cargo.toml" --target-dir "$target/bench" --locked)

if [ "${1:-}" = --parts ]; then
  shift
  exec cargo bench "${bench[@]}" --features parts --bench parts -- "$@"
fi
if [ "${1:-}" = --install-peers ]; then
  shift
  cargo install "$PEER_CRATE" --version "$PEER_VERSION" --locked --no-default-features --root "$top/target/peers"
  "$top/tests/reliability/install.sh"
fi
command -v python3 >/dev/null || { echo "python3 is missing" >&2; exit 2; }
(cd "$top" && cargo build --quiet --release --locked --bins)
cargo build --quiet --release "${bench[@]}" --bins
exec python3 "$top/benches/gateway" "$@"
