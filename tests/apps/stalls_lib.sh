# shellcheck shell=bash disable=SC2034,SC2119,SC2120,SC2154
# For the tests of jobs that stand still: source it after lib.sh.

set -E  # failures inside of functions are told too

# A run that lasts: prompts for minutes.
long_generate() { moesaic_long generate --model "$stores/demo.h5" --prompt-file "$in/prompts.txt" --max-tokens 200 --ignore-eos "$@"; }
long_bench() { moesaic_long bench model --model "$stores/tiny.h5" -p 8 -n 8 -r 1000000 --memory 64 "$@"; }
yes "Once upon a time" | head -n 2000 >"$in/prompts.txt" || true

# moesaic_long ARGUMENT...: on $ranks ranks in the background, its mpirun's id in $job, its own output in $name.out and
# $name.err; waits until it computes.
moesaic_long() {
  : >"$name.err"
  mpirun -n "$ranks" moesaic "$@" --threads 1 --wait-timeout 2 >"$name.out" 2>"$name.err" &
  job=$!
  await_line "$name.err" '^transport: '
}
# pid_of RANK of $job
pid_of() {
  local pid
  for pid in $(pgrep -P "$job"); do
    if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1"; then echo "$pid"; fi
  done
}
# ends WHAT SECONDS: $job does so within the time, with a code other than 0, and leaves no process.
ends() {
  local pids code=0 start=$SECONDS
  pids=$(pgrep -P "$job" || true)
  timeout "$2" tail --pid="$job" -f /dev/null || {
    failed "$1: still runs after $2 s: $(tail -n 20 "$name.err")"
    # shellcheck disable=SC2086
    kill -KILL "$job" $pids 2>/dev/null || true
  }
  wait "$job" || code=$?
  took=$((SECONDS - start))
  num_cases=$((num_cases + 1))
  [ "$code" -ne 0 ] || failed "$1: exit code 0"
  sleep 0.5
  for pid in $pids; do
    state=$(sed -n 's/^State:\t\([A-Z]\).*/\1/p' "/proc/$pid/status" 2>/dev/null || true)
    case $state in '' | Z | X) ;; *) failed "$1: process $pid is left in state $state" ;; esac
  done
}

# stalls SIGNAL RANK DELAY: $job gets the signal DELAY seconds from now in one rank. A stopped rank is named by the
# others, a killed one by them or by mpirun, which may be faster.
stalls() {
  local signal=$1 rank=$2 delay=$3 pid what
  what="$name: $signal of rank $rank after $delay s"
  sleep "$delay"
  pid=$(pid_of "$rank")
  [ -n "$pid" ] || { failed "$what: rank $rank is not there: $(cat "$name.err")"; return; }
  kill "-$signal" "$pid" || { failed "$what: process $pid is gone: $(cat "$name.err")"; return; }
  ends "$what" 17  # 2 s to the deadline, 15 s more
  if [ "$signal" = STOP ]; then
    expect_line "$what" "$name.err" "^moesaic: likely culprit: rank $rank on .*: no answer"
    expect_line "$what" "$name.err" "^moesaic:   no word from rank $rank on "
  else
    expect_line "$what" "$name.err" "process rank $rank with PID|no word from rank $rank on "
  fi
}
