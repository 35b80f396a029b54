#!/usr/bin/env bash
# Installs the pinned real servers and clients into ignored folders beside this script; does nothing when they are there.
#
#   tests/real/install.sh            installs
#   tests/real/install.sh --missing  prints what this machine lacks for it, one thing a line; nothing when all is there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

NODE_MAJOR_MIN=20
PYTHON_MINOR_MIN=10
STAMP=node_modules/.real-peers

# The first Python that is new enough and can make a virtual environment.
python_program() {
  local program
  for program in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$program" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, $PYTHON_MINOR_MIN))" 2>/dev/null; then
      echo "$program"
      return
    fi
  done
  return 1
}

node_is_new_enough() {
  node -e "process.exit(Number(process.versions.node.split('.')[0]) < $NODE_MAJOR_MIN ? 1 : 0)" 2>/dev/null
}

missing() {
  node_is_new_enough || echo "Node.js $NODE_MAJOR_MIN or newer"
  command -v npm >/dev/null || echo "npm"
  python_program >/dev/null || echo "Python 3.$PYTHON_MINOR_MIN or newer with venv and pip"
  local tool
  for tool in git jq timeout; do
    command -v "$tool" >/dev/null || echo "$tool"
  done
  [ -r /proc/self/environ ] || echo "/proc (the tests look for processes that are left)"
}

# What the installed folders depend on: the pins, this script, and the programs that run them.
fingerprint() {
  { cat {,inspector/}package.json {,inspector/}package-lock.json requirements*.txt constraints*.txt install.sh; node --version; "$(python_program)" --version; pwd; } |
    git hash-object --stdin
}

# python_folder FOLDER SUFFIX: a virtual environment with exactly the pinned packages.
python_folder() {
  rm -rf "$1"
  "$(python_program)" -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --requirement "requirements$2.txt" --constraint "constraints$2.txt"
}

if [ "${1:-}" = --missing ]; then
  missing
  exit 0
fi

lacking=$(missing)
if [ -n "$lacking" ]; then
  echo "this machine lacks, for the tests with real peers: ${lacking//$'\n'/, }" >&2
  exit 1
fi

due=$(fingerprint)
if [ "$(cat "$STAMP" 2>/dev/null)" = "$due" ]; then
  exit 0
fi
echo "installing the real servers and clients"
rm -f "$STAMP"
npm ci --no-audit --no-fund --loglevel=error
# The Inspector needs a newer Node.js than most machines have, which comes along in its folder and nowhere else.
(cd inspector && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
python_folder .venv ""
python_folder .venv-langchain "-langchain"
python_folder .venv-fastmcp "-fastmcp"
python_folder .venv-servers "-servers"
echo "$due" >"$STAMP"
