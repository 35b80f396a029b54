#!/usr/bin/env bash
# Installs the pinned conformance suites, the Node.js they need and the Python SDK of the fixture into ignored folders
# beside this script; does nothing when they are there.
#
#   tests/conformance/install.sh            installs
#   tests/conformance/install.sh --missing  prints what this machine lacks for it, one thing a line; nothing when all is there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

NODE_MAJOR_MIN=22
STAMP=node_modules/.conformance

# The first Python that is new enough for the SDK and can make a virtual environment.
python_program() {
  local program
  for program in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$program" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))" 2>/dev/null; then
      echo "$program"
      return
    fi
  done
  return 1
}

# The suites need a newer Node.js than most machines have. The packages that hold the bare binary are named one by one,
# because the package `node`, which chooses among them, installs its choice by a script and past the lock file.
node_program() {
  local program
  for program in "$PWD"/node_modules/node-linux-*/bin/node node; do
    if "$program" -e "process.exit(Number(process.versions.node.split('.')[0]) < $NODE_MAJOR_MIN ? 1 : 0)" 2>/dev/null; then
      echo "$program"
      return
    fi
  done
  return 1
}

# What the installed folders depend on: the pins, this script, and the programs that made them.
fingerprint() {
  { cat package.json package-lock.json requirements.txt ../real/constraints.txt install.sh; node --version; "$(python_program)" --version; pwd; } |
    git hash-object --stdin
}

# The rest of what is needed is what the real peers need, too.
if [ "${1:-}" = --missing ]; then
  ../real/install.sh --missing
  exit 0
fi

lacking=$(../real/install.sh --missing)
if [ -n "$lacking" ]; then
  echo "this machine lacks, for the conformance suite: ${lacking//$'\n'/, }" >&2
  exit 1
fi

due=$(fingerprint)
if [ "$(cat "$STAMP" 2>/dev/null)" = "$due" ]; then
  exit 0
fi
echo "installing the conformance suites"
rm -rf "$STAMP" .venv .node
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
if ! program=$(node_program); then
  echo "this machine lacks, for the conformance suite: Node.js $NODE_MAJOR_MIN or newer (it is only brought along for Linux)" >&2
  exit 1
fi
ln -s "$(command -v "$program")" .node
"$(python_program)" -m venv .venv
# The same pins as those of the real peers: the fixture is to be the SDK that is tested elsewhere.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
  --requirement requirements.txt --constraint ../real/constraints.txt
echo "$due" >"$STAMP"
