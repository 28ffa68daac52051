# shellcheck shell=bash disable=SC2034
# For the tests of this folder, which are called with ROOT and BUILD_DIR and source it. They run in a folder of their own,
# `in` under it holds what they read; `finish` ends them.
set -euo pipefail
root=$1
stores=$2/tests/stores
data=$root/tests/data
MOESAIC_BUILD_DIR=$2
export MOESAIC_BUILD_DIR OMP_NUM_THREADS=1
# shellcheck source-path=SCRIPTDIR/../../launch source=env
source "$root/launch/env"

work=$(mktemp -d "${TMPDIR:-/tmp}/moesaic-apps.XXXXXX")
cleanup() { rm -rf "$work"; }
trap cleanup EXIT
trap 'echo "FAILED: ${BASH_SOURCE[0]}, line $LINENO: $BASH_COMMAND"' ERR
mkdir "$work/in"
cd "$work"
in=$work/in
echo '[[5, 6, 7], [8]]' >"$in/tokens.json"

num_cases=0
failed() { echo "FAILED: $*" | tee -a "$work/failed"; }
finish() {
  wait
  [ ! -e "$work/failed" ] || exit 1
  echo "$num_cases checks, ${SECONDS} s"
}

# expect WHAT FOUND EXPECTED
expect() {
  num_cases=$((num_cases + 1))
  [ "$2" = "$3" ] || failed "$1: found '$2', expected '$3'"
}
# expect_line WHAT FILE PATTERN: a line of the file matches
expect_line() {
  num_cases=$((num_cases + 1))
  grep -qE -- "$3" "$2" || failed "$1: no line '$3' in: $(cat "$2")"
}

# on RANKS COMMAND...: under mpirun, or, with 0, as one process without it
on() {
  local ranks=$1
  shift
  if [ "$ranks" -eq 0 ]; then timeout 150 "$@"; else timeout 60 mpirun -n "$ranks" "$@"; fi
}

# succeeds RANKS NAME COMMAND...: leaves NAME.out and NAME.err
succeeds() {
  local ranks=$1 name=$2 code=0
  shift 2
  num_cases=$((num_cases + 1))
  on "$ranks" "$@" >"$name.out" 2>"$name.err" || code=$?
  [ "$code" -eq 0 ] || failed "$name: exit code $code: $*: $(cat "$name.err")"
}

# ends RANKS CODE NAME COMMAND...: with that exit code; leaves NAME.out and NAME.err
ends() {
  local ranks=$1 expected=$2 name=$3 code=0
  shift 3
  on "$ranks" "$@" >"$name.out" 2>"$name.err" || code=$?
  expect "exit code of $name: $*" "$code" "$expected"
}

# refused RANKS TEXT COMMAND...: exit code 2 within the time, one error that contains TEXT, and no file left. RANKS may be a
# list. Runs in the background, in an empty folder, a few at a time.
refused() {
  local ranks text=$2
  for ranks in $1; do
    while [ "$(jobs -pr | wc -l)" -ge 8 ]; do wait -n || true; done
    num_cases=$((num_cases + 1))
    refused_once "$ranks" "$work/case-$num_cases" "$text" "${@:3}" &
  done
}
refused_once() {
  local ranks=$1 folder=$2 text=$3 code=0 what
  shift 3
  what="on $ranks ranks: $*"
  mkdir "$folder"
  cd "$folder"
  on "$ranks" "$@" >"$folder.out" 2>"$folder.err" </dev/null || code=$?
  [ "$code" -eq 2 ] || failed "$what: exit code $code, expected 2: $(cat "$folder.err")"
  [ "$(grep -acE '^moesaic.*: error: ' "$folder.err")" = 1 ] || failed "$what: not one error: $(cat "$folder.err")"
  grep -aqF -- "$text" "$folder.err" || failed "$what: expected '$text' in: $(cat "$folder.err")"
  [ -z "$(ls -A "$folder")" ] || failed "$what: leaves $(ls -A "$folder")"
}

# each_refused RANKS COMMAND...: of lines 'further arguments  ->  text of the error'
each_refused() {
  local line
  while read -r line; do
    eval "refused '$1' \"\${line#* -> }\" \"\${@:2}\" ${line%% -> *}"
  done
}

# await_line FILE PATTERN: of a job that runs in the background
await_line() {
  for _ in {1..100}; do
    if grep -qE -- "$2" "$1"; then return; fi
    sleep 0.1
  done
  failed "no line '$2' in 10 s in: $(cat "$1")"
}

# deep_store FILE: a model of random weights whose KV cache takes more than 1 MiB for one sequence
deep_store() { moesaic synth --preset tiny --layers 32 --out "$1" 2>/dev/null; }

# The logits hash in a file.
hash_in() { sed -n 's/^logits hash: \([0-9a-f]\{32\}\)$/\1/p' "$1"; }
