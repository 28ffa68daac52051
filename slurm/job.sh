# shellcheck shell=bash
# What the batch scripts have in common; they source it inside the job. It finds the binary, reads the site file if there
# is one, sets what the launcher and PMIx need, and prints the job's header.

slurm_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
site=${MOESAIC_SITE:-$slurm_dir/site.sh}
if [ -f "$site" ]; then
  # shellcheck source=/dev/null
  source "$site"
elif [ -n "${MOESAIC_SITE:-}" ]; then
  echo "MOESAIC_SITE is $site, and there is no such file" >&2
  exit 2
fi

# In the project's folder the binary is in build/, in an installation (share/moesaic/slurm) in bin/.
moesaic=${MOESAIC_BIN:-$slurm_dir/../build/bin/moesaic}
if [ -z "${MOESAIC_BIN:-}" ] && [ ! -x "$moesaic" ]; then moesaic=$slurm_dir/../../../bin/moesaic; fi
if [ ! -x "$moesaic" ]; then
  echo "no binary at $moesaic: build it (docs/slurm.md), or set MOESAIC_BIN" >&2
  exit 2
fi
moesaic=$(realpath "$moesaic")

# Without -c a rank gets an even share of its node's cores.
ranks_per_node=${SLURM_NTASKS_PER_NODE:-$(((SLURM_NTASKS + SLURM_JOB_NUM_NODES - 1) / SLURM_JOB_NUM_NODES))}
if [ -z "${SLURM_CPUS_PER_TASK:-}" ]; then
  SLURM_CPUS_PER_TASK=$((SLURM_CPUS_ON_NODE / ranks_per_node))
  [ "$SLURM_CPUS_PER_TASK" -ge 1 ] || SLURM_CPUS_PER_TASK=1
fi
export SLURM_CPUS_PER_TASK

# PMIx's shared-memory store crashed in 13 of 910 launches, this one in none of 960.
export PMIX_MCA_gds=${PMIX_MCA_gds:-hash}
# Long messages over Open MPI's TCP cross only when they are cut (docs/clusters.md); other transports do not read this.
export OMPI_MCA_btl_tcp_rdma_pipeline_frag_size=${OMPI_MCA_btl_tcp_rdma_pipeline_frag_size:-131072}
# Open MPI 4.1 refuses UCX without InfiniBand unless told so. Only where UCX is chosen: set for everybody, it would put UCX
# before the other transports, Omni-Path's own among them.
if [ "${OMPI_MCA_pml:-}" = ucx ]; then
  export OMPI_MCA_opal_common_ucx_tls=${OMPI_MCA_opal_common_ucx_tls:-any}
  export OMPI_MCA_opal_common_ucx_devices=${OMPI_MCA_opal_common_ucx_devices:-any}
fi

case ${MOESAIC_LAUNCHER:-srun} in
  srun)
    # srun does not take -c from sbatch by itself. -K1 ends the step when a rank dies; without it the step hangs when all
    # ranks of a node die together. MOESAIC_SRUN: further options of srun, e.g. --cpu-bind=cores
    export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    read -r -a site_options <<<"${MOESAIC_SRUN:-}"
    ranks=(srun -K1 --mpi="${MOESAIC_MPI:-pmix}" "${site_options[@]}" "$moesaic") ;;
  mpirun)
    # mpirun starts its helpers with srun, which must not confine them to the cores of one task; what ranks may use they
    # then share out themselves. MOESAIC_MPIRUN: further options of mpirun.
    unset SRUN_CPUS_PER_TASK
    read -r -a site_options <<<"${MOESAIC_MPIRUN:-}"
    ranks=(mpirun -n "$SLURM_NTASKS" --map-by "ppr:$ranks_per_node:node" --bind-to none "${site_options[@]}" "$moesaic") ;;
  *)
    echo "MOESAIC_LAUNCHER is '$MOESAIC_LAUNCHER', expected srun or mpirun" >&2
    exit 2 ;;
esac

print_header() {  # name value ...: the parameters of this script
  echo "== $SLURM_JOB_NAME, job $SLURM_JOB_ID, $(date '+%Y-%m-%d %H:%M:%S')"
  [ "${SLURM_RESTART_COUNT:-0}" = 0 ] || echo "   start $((SLURM_RESTART_COUNT + 1)) of this job"
  printf '   %-12s%s\n' nodes "$SLURM_JOB_NUM_NODES ($SLURM_JOB_NODELIST)" \
    ranks "$SLURM_NTASKS, $SLURM_CPUS_PER_TASK cores each, by ${ranks[0]}" binary "$moesaic" "$@"
}
