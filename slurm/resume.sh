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

status=0
run_until_stopped() {  # COMMAND...: passes on USR1 and TERM as USR1, 'stop cleanly'; leaves its exit code in status
  local messages pid
  messages=$(mktemp)
  "$@" 2> >(trap '' TERM USR1; exec tee "$messages" >&2) &
  pid=$!
  # shellcheck disable=SC2064
  trap "kill -USR1 $pid 2>/dev/null || true" USR1 TERM
  while kill -0 "$pid" 2>/dev/null; do
    wait "$pid" || true  # ends with the command, or with a signal to this script
  done
  wait "$pid" || status=$?
  trap '' USR1 TERM
  sleep 0.5  # for the last messages
  if [ "$status" = 85 ] && grep -q 'no progress: ' "$messages"; then status=86; fi
  rm -f "$messages"
}

# A second job for what is left, where the site has switched requeueing off. $@: arguments of the script.
resubmit() {
  local script limit array=()
  script=$(scontrol show job "$job_id" | sed -n 's/^ *Command=\([^ ]*\).*/\1/p')
  limit=$(squeue -h -j "$job_id" -o %l)
  [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || array=(--array="$SLURM_ARRAY_TASK_ID")
  sbatch --dependency="afterany:$job_id" --job-name="$SLURM_JOB_NAME" --partition="$SLURM_JOB_PARTITION" \
    --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node="$ranks_per_node" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    --time="$limit" "${array[@]}" "$script" "$@"
}

# Ends the script. 85: stopped cleanly with work left, so the job goes back into the queue. 86: so too, but nothing was
# finished since it began, and it would not be the next time. $@: arguments of the script.
end_or_requeue() {
  case $status in
    85)
      # A job that scancel or preemption has ended is no longer RUNNING: the one shall not come back, the other does anyway.
      if [ "$(squeue -h -j "$job_id" -o %T)" != RUNNING ]; then
        echo "== stopped with work left, $(date '+%Y-%m-%d %H:%M:%S'); submit it again to go on"
        exit 85
      fi
      echo "== stopped with work left, $(date '+%Y-%m-%d %H:%M:%S'): back into the queue"
      if scontrol requeue "$job_id"; then
        sleep 60  # Slurm ends this script
      else
        echo "   requeueing is refused: another job goes on"
        resubmit "$@"
      fi ;;
    86)
      echo "== stopped before any request was finished: not again. Give the job more time, or ranks, or shorter requests" >&2 ;;
    0) echo "== done $(date '+%Y-%m-%d %H:%M:%S')" ;;
  esac
  exit "$status"
}
