#pragma once

/// How many threads a rank gets.
namespace moesaic::host {

/// Processors (hardware threads) that the affinity mask of this process allows.
int allowed_processors();

/// Threads for each rank: `asked` when positive, else OMP_NUM_THREADS or SLURM_CPUS_PER_TASK, else the processors that
/// the rank may use, shared out among the ranks of the node that have the same mask, and no more than the whole
/// processors in its share of a CPU quota (quota_share; 0: none): threads that use a quota up stop, all at a time, and
/// the other ranks wait for them. At least 1.
int threads_per_rank(int asked, int ranks_with_mask, double quota_share);

/// Threads that a process without other ranks has by default: those of its mask, within its group's CPU quota.
int threads_alone();

}  // namespace moesaic::host
