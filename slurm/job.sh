# shellcheck shell=bash
# What the batch scripts have in common; they source it inside the job. It finds the binary, reads slurm/site.sh if
# there is one, sets what srun and PMIx need, and prints the job's header.

moesaic_root=${MOESAIC_ROOT:-$SLURM_SUBMIT_DIR}
if [ -f "$moesaic_root/slurm/site.sh" ]; then
  # shellcheck source=/dev/null
  source "$moesaic_root/slurm/site.sh"
fi

moesaic=${MOESAIC_BIN:-$moesaic_root/build/bin/moesaic}
if [ ! -x "$moesaic" ]; then
  echo "no binary at $moesaic: build it with launch/build, or set MOESAIC_BIN" >&2
  exit 2
fi

# Without -c a rank gets an even share of its node's cores. srun does not take -c from sbatch by itself.
if [ -z "${SLURM_CPUS_PER_TASK:-}" ]; then
  ranks_per_node=${SLURM_NTASKS_PER_NODE:-$(((SLURM_NTASKS + SLURM_JOB_NUM_NODES - 1) / SLURM_JOB_NUM_NODES))}
  SLURM_CPUS_PER_TASK=$((SLURM_CPUS_ON_NODE / ranks_per_node))
  [ "$SLURM_CPUS_PER_TASK" -ge 1 ] || SLURM_CPUS_PER_TASK=1
fi
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

# PMIx's shared-memory store crashed in 13 of 910 launches, this one in none of 960.
export PMIX_MCA_gds=${PMIX_MCA_gds:-hash}
# Open MPI 4.1 refuses UCX without InfiniBand unless told so. Only where UCX is chosen: set for everybody, it would put UCX
# before the other transports, Omni-Path's own among them.
if [ "${OMPI_MCA_pml:-}" = ucx ]; then
  export OMPI_MCA_opal_common_ucx_tls=${OMPI_MCA_opal_common_ucx_tls:-any}
  export OMPI_MCA_opal_common_ucx_devices=${OMPI_MCA_opal_common_ucx_devices:-any}
fi

# -K1 ends the step when a rank dies; without it the step hangs when all ranks of a node die together.
# MOESAIC_SRUN: further options of srun, e.g. --cpu-bind=cores
read -r -a site_srun <<<"${MOESAIC_SRUN:-}"
# shellcheck disable=SC2034  # the batch scripts use it
ranks=(srun -K1 --mpi="${MOESAIC_MPI:-pmix}" "${site_srun[@]}" "$moesaic")

print_header() {  # name value ...: the parameters of this script
  echo "== $SLURM_JOB_NAME, job $SLURM_JOB_ID, $(date '+%Y-%m-%d %H:%M:%S')"
  printf '   %-12s%s\n' nodes "$SLURM_JOB_NUM_NODES ($SLURM_JOB_NODELIST)" \
    ranks "$SLURM_NTASKS, $SRUN_CPUS_PER_TASK cores each" binary "$moesaic" "$@"
}
