#!/usr/bin/env bash
# What README.md says is true: its commands are run in their order, as a reader would paste them, against a daemon in
# a scratch copy of the project folder, and must print what the README says they print.
#
#   tests/readme/run.sh                   the release binaries, built when they are absent
#   MCP_WRAPPER=PATH tests/readme/run.sh  another binary; mcpctl is the one beside it
#   PEERS=FOLDER tests/readme/run.sh      where the Python and Node packages of tests/real/install.sh are
#
# A comment in the README above a block says what becomes of it:
#
#   run: NAME         its commands are run by sh, in one shell
#   run with: PEER    run by python, langchain (Python with its adapters) or node; left out where that is missing
#   not run: WHY      left out
#   check: WHAT       a table or file that is compared with the program
#
# A line `# => text` in a block: the text must be in the output of the commands above it, up to the line before.
# Goes on after a failure, and ends with `N passed, N failed, N skipped`.
set -euo pipefail

# shellcheck source=scripts/daemon.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/daemon.sh"
readme=$project_top/README.md
peers=${PEERS:-$project_top/tests/real}
daemon_programs
MCP_WRAPPER=$(realpath "$MCP_WRAPPER")
MCPCTL=$(realpath "$MCPCTL")

scratch=$(mktemp -d)
project=$scratch/project
n_passed=0
n_failed=0
n_skipped=0

leave() {
  daemon_stop 30
  rm -rf "$scratch"
}
trap leave EXIT

passed() {
  n_passed=$((n_passed + 1))
  echo "ok      $1"
}

# failed WHAT [FILE]: with the end of the file.
failed() {
  n_failed=$((n_failed + 1))
  echo "FAILED  $1"
  [ -z "${2:-}" ] || tail -n 20 "$2" | sed 's/^/        | /'
}

skipped() {
  n_skipped=$((n_skipped + 1))
  echo "skipped $1"
}

# Writes every fenced block to a file NUMBER.LANGUAGE, the comment above it to NUMBER.mark, its first line to NUMBER.line.
split_blocks() {
  awk -v folder="$scratch/blocks" '
    /^<!-- .* -->$/ { mark = $0; sub(/^<!-- /, "", mark); sub(/ -->$/, "", mark); next }
    /^```/ && !inside { inside = 1; n++; stem = sprintf("%s/%02d", folder, n); file = stem "." substr($0, 4)
      print mark > (stem ".mark"); print NR + 1 > (stem ".line"); printf "" > file; mark = ""; next }
    /^```/ { inside = 0; close(file); next }
    inside { print > file; next }
    { mark = "" }
  ' "$readme"
}

# The rows below the comment `check: WHAT`: the first cell without backquotes, a tab, the second cell.
table() {
  awk -F ' *[|] *' -v mark="<!-- check: $1 -->" '
    $0 == mark { inside = 1; next }
    inside && !/^[|]/ { exit }
    inside && $2 ~ /^`/ { gsub(/`/, ""); print $2 "\t" $3 }
  ' "$readme"
}

# What a reader has: the project folder, the two programs, and settings of another program to import.
make_project() {
  mkdir -p "$scratch/blocks" "$scratch/bin" "$scratch/home/.cursor" "$project"
  cp "$project_top/servers.toml" "$project/"
  # The build was done before; what is left of `cargo build` is to put the programs where the README finds them.
  cat >"$scratch/bin/cargo" <<SH
#!/bin/sh
[ "\$*" = "build --release --bins" ] || { echo "unexpected: cargo \$*" >&2; exit 1; }
mkdir -p target/release
ln -s "$MCP_WRAPPER" target/release/mcp-wrapper
ln -s "$MCPCTL" target/release/mcpctl
SH
  printf '#!/bin/sh\nexec mcp-wrapper demo tickets\n' >"$scratch/bin/ticket-desk"
  chmod +x "$scratch/bin/cargo" "$scratch/bin/ticket-desk"
  cat >"$scratch/home/.cursor/mcp.json" <<JSON
{ "mcpServers": { "ticket-desk": { "command": "ticket-desk", "env": { "PATH": "$project/target/release:$PATH" } } } }
JSON
  sed -i "s|\"command\": \"ticket-desk\"|\"command\": \"$scratch/bin/ticket-desk\"|" "$scratch/home/.cursor/mcp.json"
}

# as_reader COMMAND…: in the project folder, with the reader's home, and without the settings of the caller's own daemon.
as_reader() {
  (
    cd "$project"
    unset MCP_HOST MCP_PORT MCP_DATA_DIR MCP_LOG_DIR MCP_SERVERS_FILE MCP_AUTH_TOKEN DEBUG_MODE LOG_LEVEL
    exec env HOME="$scratch/home" PATH="$project/target/release:$scratch/bin:$PATH" "$@"
  )
}

# A text of the README as this daemon needs it: its port, the paths to fill in.
localised() {
  sed -e "s|127\.0\.0\.1:8999|${daemon_base#http://}|g" -e "s|/path/to/mcp-wrapper|$MCP_WRAPPER|g" \
    -e "s|/path/to/project|$project|g" "$1"
}

start_daemon() {
  local block=$1
  [ "$(tail -n 1 "$block")" = mcp-wrapper ] || { failed "the daemon's block must end with the daemon" "$block"; return 1; }
  # The daemon takes the place of the shell, so that its process number is the one that is waited for.
  { echo '#!/bin/sh'; echo 'set -e'; sed '$ s/^/exec /' "$block"; } >"$scratch/start"
  chmod +x "$scratch/start"
  MCP_WRAPPER=$scratch/start daemon_start "$project" HOME="$scratch/home" PATH="$scratch/bin:$PATH" ||
    { failed "the daemon does not start"; return 1; }
  wait_until 15 grep -q 'claude_desktop_config.json' "$project/stderr.txt" || true
  if grep -q 'tickets *ready' "$project/stderr.txt" && grep -qF "\"$project\"" "$project/stderr.txt"; then
    passed "the daemon says which servers are up, and prints the snippet"
  else
    failed "the daemon does not say which servers are up, or prints no snippet" "$project/stderr.txt"
  fi
}

# The parts of a block, one file each, and for each the texts that must be in its output.
split_parts() {
  awk -v stem="$2" '
    BEGIN { n = 1; printf "" > (stem ".1") }
    /^(#|\/\/) => / { sub(/^(#|\/\/) => /, ""); print > (stem "." n ".due"); was_due = 1; next }
    was_due { n++; was_due = 0; printf "" > (stem "." n) }
    { print > (stem "." n) }
  ' "$1"
}

# expect PLACE FILE TEXTS: each line of TEXTS is in FILE.
expect() {
  local text
  while IFS= read -r text; do
    if grep -qF -- "$text" "$2"; then
      passed "$1: $text"
    else
      failed "$1: not printed: $text" "$2"
    fi
  done <"$3"
}

# One shell for the whole block, so that its variables and functions stay; each command's output in a file of its own.
run_sh() {
  local block=$1 place=$2 stem=$scratch/run/$3 part n
  mkdir -p "$scratch/run"
  localised "$block" >"$stem.sh"
  split_parts "$stem.sh" "$stem"
  echo 'set -e' >"$stem.script"
  for ((n = 1; ; n++)); do
    part=$stem.$n
    [ -e "$part" ] || break
    { echo '{'; cat "$part"; printf '\n:; } >"%s.out" 2>&1\n' "$part"; } >>"$stem.script"
  done
  if as_reader sh "$stem.script" </dev/null; then
    passed "$place runs"
  else
    cat "$stem".*.out >"$stem.all"
    failed "$place: a command failed; all output" "$stem.all"
  fi
  for ((n = 1; ; n++)); do
    part=$stem.$n
    [ -e "$part" ] || break
    [ ! -e "$part.due" ] || [ ! -e "$part.out" ] || expect "$place" "$part.out" "$part.due"
  done
}

# Another language: one program, one output.
run_with() {
  local peer=$1 block=$2 place=$3 stem=$scratch/run/$4
  local -a program
  mkdir -p "$scratch/run"
  case $peer in
    python) program=("$peers/.venv/bin/python") ;;
    langchain) program=("$peers/.venv-langchain/bin/python") ;;
    node) program=("$(command -v node || echo node)") ;;
    *) failed "$place: nobody knows how to run with $peer"; return 0 ;;
  esac
  if [ ! -x "${program[0]}" ] || { [ "$peer" = node ] && [ ! -d "$peers/node_modules" ]; }; then
    if [ "${CI:-}" = true ]; then failed "$place: $peer is missing"; else skipped "$place: $peer is missing (tests/real/install.sh)"; fi
    return 0
  fi
  localised "$block" >"$stem.source"
  split_parts "$stem.source" "$stem"
  if [ "$peer" = node ]; then
    # Packages are found beside the file.
    cp "$stem.1" "$stem.mjs"
    [ -e "$scratch/run/node_modules" ] || ln -s "$peers/node_modules" "$scratch/run/node_modules"
    program+=("$stem.mjs")
  else
    program+=("$stem.1")
  fi
  if as_reader PYTHONDONTWRITEBYTECODE=1 timeout 60 "${program[@]}" >"$stem.out" 2>&1 </dev/null; then
    passed "$place runs"
  else
    failed "$place: it failed" "$stem.out"
  fi
  expect "$place" "$stem.out" "$stem.1.due"
}

# Offline, in a folder of its own: mcpctl names every fault of a servers.toml.
takes_servers_toml() {
  local place=$1 file=$2 folder
  folder=$(mktemp -d -p "$scratch")
  cp "$file" "$folder/servers.toml"
  if as_reader GITHUB_TOKEN=x mcpctl --dir "$folder" list >"$folder/out" 2>&1 && ! grep -q 'has faults' "$folder/out"; then
    passed "$place: the program takes it"
  else
    failed "$place: the program does not take it" "$folder/out"
  fi
}

# A settings file of a client: mcpctl reads those for import, and sees that the entry is mcp-wrapper or a URL.
is_client_settings() {
  if as_reader mcpctl import "$2" --yes >"$scratch/import.out" 2>&1 && grep -q 'Nothing to do' "$scratch/import.out"; then
    passed "$1: settings that name mcp-wrapper"
  else
    failed "$1: no settings of a client" "$scratch/import.out"
  fi
}

# same WHAT ONE OTHER: two lists, one name a line, in any order.
same() {
  if [ -n "$2" ] && [ -n "$3" ] && diff <(sort <<<"$2") <(sort <<<"$3") >"$scratch/differences"; then
    passed "$1"
  else
    failed "$1 (<: README only, >: the other only)" "$scratch/differences"
  fi
}

check_tables() {
  { echo '[defaults]'; table defaults | awk -F '\t' '{ print $1 " = " $2 }'; } >"$scratch/defaults.toml"
  takes_servers_toml "the keys of [defaults], with the values of the table" "$scratch/defaults.toml"
  same "README.md and servers.toml agree on keys and defaults" "$(table defaults | tr '\t' ' ')" \
    "$(sed -n '/of \[defaults\] for all/,$ s/^# \([a-z_]*\)  *\("[^"]*"\|[0-9][0-9.]*\|true\|false\)  .*/\1 \2/p' "$project_top/servers.toml")"
  same "README.md has every key of [defaults] that the program has" "$(table defaults | cut -f 1)" \
    "$(tr -d '\n' <"$project_top/src/config/keys.rs" | grep -oE 'policy\( *"[a-z_]+"' | sed 's/.*"\(.*\)"/\1/')"
  same "README.md and .env.example agree on variables" "$(table environment | cut -f 1)" \
    "$(sed -n 's/^# \([A-Z_]*\)=.*/\1/p' "$project_top/.env.example")"
  as_reader mcpctl --help | awk '/^Commands:/ { inside = 1; next } !NF { inside = 0 } inside && $1 != "help" { print $1 }' >"$scratch/verbs"
  same "every verb of mcpctl has an example" \
    "$(grep -hoE '(^|\| )(xargs [-rn1 ]+)?mcpctl [a-z]+' "$scratch"/blocks/*.sh | sed 's/.*mcpctl //' | sort -u)" "$(cat "$scratch/verbs")"
}

# Blocks from first to last; the one that stops the daemon is the last that is run.
run_blocks() {
  local block number mark place
  for block in "$scratch"/blocks/*.{sh,python,js,json,toml}; do
    [ -e "$block" ] || continue
    echo "$block"
  done | sort >"$scratch/order"
  while IFS= read -r block <&3; do
    number=$(basename "${block%.*}")
    mark=$(cat "${block%.*}.mark")
    place="line $(cat "${block%.*}.line")"
    case $mark in
      'run: daemon') start_daemon "$block" || return 0 ;;
      'run: stop') stop_by "$block" "$place" "$number" ;;
      'run: '*) run_sh "$block" "$place (${mark#run: })" "$number" ;;
      'run with: '*) run_with "${mark#run with: }" "$block" "$place (${mark#run with: })" "$number" ;;
      'not run: '*) skipped "$place: ${mark#not run: }" ;;
      'check: servers.toml') takes_servers_toml "$place" "$block" ;;
      *)
        case $block in
          *.json) is_client_settings "$place" "$block" ;;
          *) failed "$place: no comment says whether this block is run" "$block" ;;
        esac ;;
    esac
  done 3<"$scratch/order"
}

stop_by() {
  run_sh "$1" "$2 (stop)" "$3"
  if wait_until 30 daemon_is_gone; then passed "$2: the daemon is gone"; else failed "$2: the daemon still runs"; fi
}

make_project
split_blocks
run_blocks
check_tables
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ "$n_failed" -eq 0 ]
