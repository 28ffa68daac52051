# shellcheck shell=bash disable=SC2034
# For the tests of this folder, which are called with ROOT and BUILD_DIR and source it: a throw-away cluster of two nodes, in
# `work` under the build folder. Exits with 77 where none can be made.
set -euo pipefail
root=$1 build=$2
work=$build/slurm-test
cd "$root"

# A cluster that a killed run of such a test left behind.
if [ -e "$work/cluster_is_up" ]; then launch/mini-slurm down; fi

if ! reason=$(launch/mini-slurm check 2>&1); then
  echo "SKIPPED: $reason"
  exit 77
fi

work_out() { tail -n 60 "$work"/*.out 2>/dev/null || true; }
fail() { work_out; echo "FAILED: $*"; exit 1; }
rm -rf "$work"
mkdir -p "$work"
touch "$work/cluster_is_up"
trap 'launch/mini-slurm down; rm -f "$work/cluster_is_up"' EXIT
launch/mini-slurm up 2

export MINI_SLURM_DIR=${MINI_SLURM_DIR:-${TMPDIR:-/tmp}/mini-slurm}
export SLURM_CONF=$MINI_SLURM_DIR/slurm.conf MOESAIC_BIN=$build/bin/moesaic
# More ranks than cores, which Open MPI does not notice across emulated nodes; and the user is root.
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# submit NAME SCRIPT ARGUMENT...: until it has ended; its output is NAME.out
submit() { timeout 180 sbatch --wait --output="$work/$1.out" "slurm/$2.sbatch" "${@:3}" || fail "$1: exit code $?"; }

# begin NAME OPTION... -- SCRIPT ARGUMENT...: sets job
begin() {
  local name=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  job=$(sbatch --parsable --output="$work/$name.out" "${options[@]}" "slurm/$2.sbatch" "${@:3}") || fail "$name: sbatch"
}

# await SECONDS COMMAND...: until it succeeds
await() {
  local i
  for ((i = 0; i < 5 * $1; ++i)); do
    if "${@:2}"; then return; fi
    sleep 0.2
  done
  fail "not within $1 s: ${*:2}"
}
state_is() { scontrol show job "$1" | grep -q "JobState=$2 "; }
says() { grep -qE -- "$2" "$work/$1.out" 2>/dev/null; }
must_say() { says "$1" "$2" || fail "$1: no '$2' in the job's output"; }
