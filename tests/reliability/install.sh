#!/usr/bin/env bash
# Installs the pinned gateways that are measured beside ours into ignored folders beside this script; does nothing when
# they are there.
#
#   tests/reliability/install.sh            installs
#   tests/reliability/install.sh --missing  prints what this machine lacks for it, one thing a line; nothing when all is there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PYTHON_MINOR_MIN=11
STAMP=.venv/.reliability

python_program() {
  local program
  for program in python3 python3.13 python3.12 python3.11; do
    if "$program" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, $PYTHON_MINOR_MIN))" 2>/dev/null; then
      echo "$program"
      return
    fi
  done
  return 1
}

if [ "${1:-}" = --missing ]; then
  python_program >/dev/null || echo "Python 3.$PYTHON_MINOR_MIN or newer with venv and pip"
  exit 0
fi
if ! python=$(python_program); then
  echo "this machine lacks, for the other gateways: Python 3.$PYTHON_MINOR_MIN or newer with venv and pip" >&2
  exit 1
fi

due=$({ cat requirements.txt constraints.txt ../real/{requirements,constraints}-fastmcp.txt install.sh; "$python" --version; pwd; } |
  git hash-object --stdin)
if [ "$(cat "$STAMP" 2>/dev/null)" = "$due" ]; then
  exit 0
fi
echo "installing the other gateways"

# folder FOLDER REQUIREMENTS CONSTRAINTS: a virtual environment with exactly the pinned packages.
folder() {
  rm -rf "$1"
  "$python" -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --requirement "$2" --constraint "$3"
}

folder .venv requirements.txt constraints.txt
# The pins of the FastMCP that is tested as a client: its command line is a gateway, too.
folder .venv-fastmcp ../real/requirements-fastmcp.txt ../real/constraints-fastmcp.txt
echo "$due" >"$STAMP"
