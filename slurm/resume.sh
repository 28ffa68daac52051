# shellcheck shell=bash disable=SC2034,SC2154
# For jobs that stop cleanly with work left and go on later: batch.sbatch and array.sbatch source it after job.sh.

# One job of an array has the number of the whole array.
job_id=$SLURM_JOB_ID
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || job_id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

seconds_of() {  # [DAYS-][[HOURS:]MINUTES:]SECONDS, as squeue prints what is left; fails on anything else (UNLIMITED)
  [[ $1 =~ ^(([0-9]+)-)?(([0-9]+):)?(([0-9]+):)?([0-9]+)$ ]] || return 1
  local days=${BASH_REMATCH[2]:-0} first=${BASH_REMATCH[4]:-} second=${BASH_REMATCH[6]:-} seconds=${BASH_REMATCH[7]}
  if [ -z "$second" ]; then second=${first:-0} first=0; fi  # no hours
  echo $((((10#$days * 24 + 10#${first:-0}) * 60 + 10#$second) * 60 + 10#$seconds))
}

max_time=()
limit_time() {  # sets max_time to the options for the time that the job still has; none where it has no limit
  local left
  left=$(seconds_of "$(squeue -h -j "$job_id" -o %L 2>/dev/null)") || return 0
  left=$((left > 120 ? left - 60 : left / 2))  # to end the step, and to requeue
  max_time=(--max-time "$(printf '%02d:%02d:%02d' $((left / 3600)) $((left / 60 % 60)) $((left % 60)))")
}

status=0 size_before=0
run_until_stopped() {  # RESULTS COMMAND...: passes on USR1 and TERM as USR1, 'stop cleanly'; leaves its exit code in status
  local messages pid
  results=$1 messages=$(mktemp)
  size_before=$(journal_size)
  "${@:2}" 2> >(trap '' TERM USR1; exec tee "$messages" >&2) &
  pid=$!
  # shellcheck disable=SC2064
  trap "kill -USR1 $pid 2>/dev/null || true" USR1 TERM
  while kill -0 "$pid" 2>/dev/null; do
    wait "$pid" || true  # ends with the command, or with a signal to this script
  done
  wait "$pid" || status=$?
  trap '' USR1 TERM
  sleep 0.5  # for the last messages
  if [ "$status" = 85 ] && grep -q '^no progress: ' "$messages"; then status=86; fi
  rm -f "$messages"
}

journal_size() { stat -c %s "$results.journal" 2>/dev/null || echo 0; }

# What ended the ranks was no fault of theirs, and trying again will not go on for ever: something was finished since the
# start, or a node does not answer.
is_worth_another_try() {
  [ "$(journal_size)" -gt "$size_before" ] ||
    sinfo -h -N -n "$SLURM_JOB_NODELIST" -o %T 2>/dev/null | grep -qE '\*|down|fail|drain'
}

# running: Slurm runs this job; requeued: it is in the queue already, by preemption or scontrol; ended: by scancel
job_state() {
  local shown restarts state
  for _ in 1 2 3; do
    shown=$(scontrol -o show job "$job_id" 2>/dev/null) && break
    sleep 5  # a busy controller
  done
  state=$(sed -n 's/.* JobState=\([A-Z_]*\) .*/\1/p' <<<"$shown")
  restarts=$(sed -n 's/.* Restarts=\([0-9]*\) .*/\1/p' <<<"$shown")
  if [ "${restarts:-0}" -gt "${SLURM_RESTART_COUNT:-0}" ]; then echo requeued
  elif [ "$state" = RUNNING ]; then echo running
  else echo ended; fi
}

stop_file() {  # the file, if there is one, by which somebody has stopped the batch
  local file
  for file in "$results.stop" "$(dirname "$results")/STOP"; do
    if [ -e "$file" ]; then echo "$file"; return; fi
  done
}

# A second job for what is left, where the site has switched requeueing off: of the script as it runs here, which is sbatch's
# copy. $@: arguments of the script.
resubmit() {
  local limit array=()
  limit=$(squeue -h -j "$job_id" -o %l)
  [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || array=(--array="$SLURM_ARRAY_TASK_ID")
  MOESAIC_SLURM=$slurm_dir sbatch --dependency="afterany:$job_id" --job-name="$SLURM_JOB_NAME" \
    --partition="$SLURM_JOB_PARTITION" --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_NTASKS" \
    --ntasks-per-node="$ranks_per_node" --cpus-per-task="$SLURM_CPUS_PER_TASK" --time="$limit" --export=ALL "${array[@]}" \
    "$0" "$@"
}

# $1: why; $2...: arguments of the script
back_into_queue() {
  local now
  now=$(date '+%Y-%m-%d %H:%M:%S')
  case $(job_state) in
    requeued) echo "== $1, $now: Slurm has put the job back into the queue" ;;
    ended) echo "== $1, $now; submit it again to go on" ;;
    running)
      echo "== $1, $now: back into the queue"
      if scontrol requeue "$job_id"; then
        sleep 60  # Slurm ends this script
      else
        echo "   requeueing is refused: another job goes on"
        resubmit "${@:2}"
      fi ;;
  esac
}

# Ends the script. 85: stopped cleanly with work left, so the job goes back into the queue. 86: so too, but nothing was
# finished since it began, and it would not be the next time. 87: complete, with nothing but errors. $@: arguments of the script.
end_or_requeue() {
  local file
  case $status in
    0) echo "== done $(date '+%Y-%m-%d %H:%M:%S')" ;;
    2) ;;  # refused, with a message
    87) echo "== done $(date '+%Y-%m-%d %H:%M:%S'), but every result is an error" >&2 ;;
    85)
      file=$(stop_file)
      if [ -n "$file" ]; then
        echo "== stopped with work left, $(date '+%Y-%m-%d %H:%M:%S'), by $file; remove it, and submit the job again to go on"
      else
        back_into_queue "stopped with work left" "$@"
      fi ;;
    86)
      echo "== stopped before any request was finished: not again. Give the job more time, or ranks, or shorter requests" >&2 ;;
    138) back_into_queue "told to stop before the ranks had begun" "$@" ;;  # SIGUSR1 before MPI was there
    *)
      if is_worth_another_try; then
        back_into_queue "lost a rank or a node (exit code $status)" "$@"
      else
        echo "== failed with exit code $status before any request was finished: not again" >&2
      fi ;;
  esac
  exit "$status"
}
