# shellcheck shell=bash disable=SC2154
# Moesaic's batch scripts have this in common; they source it inside the job. It forgets what the shell that called sbatch
# has left, reads the site file if there is one, finds the binary, sets what the launcher needs, and prints the job's header.
# Set already: `slurm_dir`, this folder; `record`, what `scontrol show job` says; `script`, the path that was submitted.

# Whatever ends the script by failing says so: a job whose output is empty tells nobody anything.
set -E
trap 'say_failed $? "${BASH_SOURCE[0]}" "$LINENO" "$BASH_COMMAND"' ERR
say_failed() {  # EXIT_CODE FILE LINE COMMAND
  [ "$BASH_SUBSHELL" = 0 ] || return 0  # the command that this subshell is part of will say it
  local file=${2##*/}
  [ "$file" != slurm_script ] || file=${script##*/}  # sbatch's copy
  echo "== ended with exit code $1 in $file, line $3: $4" >&2
}
refuse() { echo "$1" >&2; exit 2; }

[ -n "${SLURM_JOB_ID:-}" ] || refuse "this is a batch script: give it to sbatch, or run it inside an allocation of salloc"
[ -n "${SLURM_NTASKS:-}" ] ||
  refuse "the job has no number of ranks: give -N and --ntasks-per-node (#SBATCH lines count only in a script that sbatch itself is given)"

in_record() {  # FIELD: its value for this job. Of an array's last job, the record has the array's other jobs too.
  awk -v job="JobId=$SLURM_JOB_ID" -v field="$1=" '
    /^JobId=/ {own = $1 == job}
    own {for (i = 1; i <= NF; ++i) if (index($i, field) == 1) {print substr($i, length(field) + 1); exit}}' <<<"$record"
}

# A job submitted from inside another one, or from a shell with settings for Slurm's commands, inherits variables that are
# not its own: masks and other options of an interactive step, which srun takes for its own, and formats and filters of
# squeue and sinfo. A step without --mem has the job's memory, and `MOESAIC_SRUN` is the place for other options.
from_step=${SLURM_STEP_NODELIST:+yes}
for name in $(compgen -e); do
  case $name in
    PMIX_MCA_*) ;;
    SLURM_CONSTRAINT | SLURM_RESV_PORTS | SLURM_CORE_SPEC | SLURM_THREAD_SPEC | SLURM_NETWORK | SLURM_IMMEDIATE | \
      SLURM_DEPENDENCY | SLURM_*PROLOG | SLURM_*EPILOG | SLURM_OPEN_MODE | SLURM_STEP* | SLURM_CPU_BIND* | \
      SLURM_MEM_PER_* | SLURM_TRES_PER_TASK | SLURM_PMI* | SLURM_SRUN_* | SLURM_LAUNCH_NODE_IPADDR | PMI_* | PMIX_* | \
      OMPI_COMM_WORLD_* | OMPI_UNIVERSE_SIZE | SLURM_LABELIO | SLURM_STD*MODE | SLURM_MULTI_PROG | \
      SLURM_WORKING_DIR | SLURM_REMOTE_CWD | SLURM_TIMELIMIT | SLURM_WAIT | SLURM_EXACT | SLURM_EXCLUSIVE | \
      SLURM_OVERLAP | SLURM_WHOLE | SLURM_CLUSTERS | SLURM_TIME_FORMAT | SLURM_BITSTR_LEN | SRUN_* | SQUEUE_* | \
      SINFO_* | SCONTROL_* | SBATCH_ARRAY_INX | SBATCH_CLUSTERS | SBATCH_EXPORT | SBATCH_GET_USER_ENV | SBATCH_WAIT)
      unset "$name" ;;
    SLURM_DISTRIBUTION | SLURM_DIST_* | SLURM_MEM_BIND* | SLURM_NTASKS_PER_[!N]* | SLURM_THREADS* | SLURM_HINT | \
      SLURM_OVERCOMMIT | SLURM_CPU_FREQ_REQ | SLURM_GPU* | SLURM_GRES* | SLURM_CPUS_PER_GPU)
      [ -z "$from_step" ] || unset "$name" ;;  # may be options of this job otherwise
    SLURM_ARRAY_*) [ -z "$record" ] || [ -n "$(in_record ArrayTaskId)" ] || unset "$name" ;;
  esac
done
if [ -n "$record" ]; then SLURM_RESTART_COUNT=$(in_record Restarts); fi
# srun gives ranks what sbatch gave the script (--export=NONE: nothing); they need what this script and the site file set.
export SLURM_EXPORT_ENV=ALL

declare -A variables_before
for name in $(compgen -e); do variables_before[$name]=${!name-}; done

# The site file is code of others: it is not held to this script's strictness (modules read variables that are not set, a
# last line `[ ... ] && export ...` may be false). What fails in it is told; `return` and `exit` with an error end the job.
slurm_dir=$(CDPATH="" cd "$slurm_dir" && pwd)  # the site file may change the folder
site=${MOESAIC_SITE:-$slurm_dir/site.sh}
[[ $site = */* ]] || site=./$site  # `source` would look for a bare name in PATH
site_commands=("" "")  # the last two that the site file itself has begun; those of functions and other files do not count
say_site_failed() {  # EXIT_CODE FUNCTION_AND_FILE LINE
  [ "$2" = "$site" ] || return 0
  site_commands[1]=${site_commands[0]}  # the last one was the call of this function
  echo "$site, line $3: exit code $1, and the job goes on: $(sed -n "$3p" "$site")" >&2
}
if [ -f "$site" ]; then
  echo "== reading $site"  # should it replace this script (exec), the job's output tells
  bash -O extglob -n "$site" || refuse "$site has the error above: mend it, or set MOESAIC_SITE to another file"
  arguments=("$@") folder=$PWD
  trap '[ "${FUNCNAME[0]:-}${BASH_SOURCE[0]}" != "$site" ] || site_commands=("${site_commands[1]}" "$BASH_COMMAND")' DEBUG
  trap 'say_site_failed $? "${FUNCNAME[0]:-}${BASH_SOURCE[0]}" "$LINENO"' ERR
  trap 'refuse "$site ended the job with exit code $?, at: ${site_commands[1]}"' EXIT
  set +eu +o pipefail -ET
  # shellcheck source=/dev/null
  source "$site"
  site_code=$? site_end=${site_commands[1]}
  set +T -euo pipefail
  trap - DEBUG EXIT
  trap 'say_failed $? "${BASH_SOURCE[0]}" "$LINENO" "$BASH_COMMAND"' ERR
  set -- "${arguments[@]}"
  unset IFS
  cd "$folder"  # paths among the arguments are relative to it
  if [ "$site_code" != 0 ] && [[ $site_end =~ ^return( |$) ]]; then
    refuse "$site ended the job with exit code $site_code, at: $site_end"
  fi
elif [ -n "${MOESAIC_SITE:-}" ]; then
  refuse "MOESAIC_SITE is $site, and there is no such file"
fi

# In the project's folder the binary is in build/, in an installation (share/moesaic/slurm) in bin/.
moesaic=${MOESAIC_BIN:-$slurm_dir/../build/bin/moesaic}
if [ -z "${MOESAIC_BIN:-}" ] && [ ! -x "$moesaic" ]; then moesaic=$slurm_dir/../../../bin/moesaic; fi
[ -x "$moesaic" ] || refuse "no binary at $moesaic: build it (docs/slurm.md), or set MOESAIC_BIN"
moesaic=$(realpath "$moesaic")

# Cores of a rank: what -c says; without it an even share of the smallest node, since all ranks have the same number. The
# job's record has 1 where -c is missing, so that another value of the variable is inherited, and 1 is if others are.
ranks_per_node=$(((SLURM_NTASKS + SLURM_JOB_NUM_NODES - 1) / SLURM_JOB_NUM_NODES))
smallest() { tr , '\n' <<<"$1" | sed 's/(.*//' | sort -n | sed -n 1p; }  # of Slurm's lists: 72(x2),36
cores_of_node=$(smallest "${SLURM_JOB_CPUS_PER_NODE:-$SLURM_CPUS_ON_NODE}")
cores=${SLURM_CPUS_PER_TASK:-} recorded_cores=$(in_record CPUs/Task)
if [[ $recorded_cores =~ ^[0-9]+$ ]]; then
  if [ "$recorded_cores" -gt 1 ]; then cores=$recorded_cores
  elif [ "$cores" != 1 ] || [ -n "$from_step" ]; then cores=; fi
fi
if [ -z "$cores" ]; then cores=$((cores_of_node / ranks_per_node > 1 ? cores_of_node / ranks_per_node : 1)); fi
export SLURM_CPUS_PER_TASK=$cores

# Long messages over Open MPI's TCP cross only when they are cut (docs/clusters.md); other transports do not read this.
export OMPI_MCA_btl_tcp_rdma_pipeline_frag_size=${OMPI_MCA_btl_tcp_rdma_pipeline_frag_size:-131072}

# settings: names of the variables that ranks must have as this script has them: what MPI, its transports and OpenMP read,
# and what the site file has set or changed, but for what belongs to the shell, to modules or to nobody else.
settings=()
for name in $(compgen -e); do
  case $name in
    OMPI_MCA_hwloc_base_binding_policy | OMPI_MCA_ess) ;;  # Open MPI sets them in its ranks
    OMPI_MCA_* | PMIX_MCA_* | UCX_* | FI_* | PSM2_* | HFI_* | OMP_* | GOMP_* | KMP_* | HWLOC_* | HDF5_* | LD_PRELOAD | SLURM_CPUS_PER_TASK)
      settings+=("$name") ;;
    _* | *PATH | PWD | OLDPWD | SHLVL | TMPDIR | BASH_* | LMOD_* | MODULE* | LOADEDMODULES | MOESAIC_* | SLURM_* | SBATCH_* | \
      SRUN_* | *TOKEN* | *SECRET* | *PASS* | *KEY* | *CREDENTIAL*) ;;
    *) [ "${variables_before[$name]-not set}" = "${!name-}" ] || settings+=("$name") ;;
  esac
done

case ${MOESAIC_LAUNCHER:-srun} in
  srun)
    # srun does not take -c from sbatch by itself. -K1 ends the step when a rank dies; without it the step hangs when all
    # ranks of a node die together. MOESAIC_SRUN: further options of srun, e.g. --cpu-bind=cores
    export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    read -r -a site_options <<<"${MOESAIC_SRUN:-}"
    ranks=(srun -K1 --mpi="${MOESAIC_MPI:-pmix}" "${site_options[@]}" "$moesaic") ;;
  mpirun)
    # mpirun starts its helpers with srun, which must not confine them to the cores of one task; what ranks may use they
    # then share out themselves. By itself it gives ranks of other nodes no variables but OMPI_MCA_*. MOESAIC_MPIRUN:
    # further options of mpirun.
    unset SRUN_CPUS_PER_TASK
    exported=()
    for name in "${settings[@]}" LD_LIBRARY_PATH; do
      [[ $name = OMPI_MCA_* ]] || [ -z "${!name+set}" ] || exported+=(-x "$name")
    done
    read -r -a site_options <<<"${MOESAIC_MPIRUN:-}"
    ranks=(mpirun -n "$SLURM_NTASKS" --map-by "ppr:$ranks_per_node:node" --bind-to none "${exported[@]}" "${site_options[@]}"
      "$moesaic") ;;
  *) refuse "MOESAIC_LAUNCHER is '$MOESAIC_LAUNCHER', expected srun or mpirun" ;;
esac

print_header() {  # name value ...: the parameters of this script
  echo "== $SLURM_JOB_NAME, job $SLURM_JOB_ID, $(date '+%Y-%m-%d %H:%M:%S')"
  [ "${SLURM_RESTART_COUNT:-0}" = 0 ] || echo "   start $((SLURM_RESTART_COUNT + 1)) of this job"
  printf '   %-12s%s\n' nodes "$SLURM_JOB_NUM_NODES ($SLURM_JOB_NODELIST)" \
    ranks "$SLURM_NTASKS, $SLURM_CPUS_PER_TASK cores each, by ${ranks[0]}" binary "$moesaic" \
    "site file" "$([ -f "$site" ] && echo "$site" || echo none)" "$@"
  if [ "$cores" = 1 ] && [ "$cores_of_node" -gt "$ranks_per_node" ]; then
    echo "   warning: a rank has 1 core, of $cores_of_node on a node; if you did not mean -c 1, the variable SLURM_CPUS_PER_TASK" \
      "of the shell that called sbatch has it: unset it there"
  fi
}
