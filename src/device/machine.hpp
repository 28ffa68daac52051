#pragma once

#include <cstdint>
#include <string>

/// What this process may use of its node.
namespace moesaic::device {

std::string host_name();

/// The processor as /proc/cpuinfo tells it: "AMD EPYC, family 25 model 17".
std::string cpu_name();

/// Processors (hardware threads) that the affinity mask of this process allows.
int allowed_processors();

/// Left in /dev/shm, where ranks of a node share memory; containers often have little.
std::int64_t available_shared_memory_bytes();

/// Bytes that this node can still give out: MemAvailable, or what the control group leaves when that is less.
std::int64_t available_memory_bytes();

/// Largest resident size that this process has had, bytes.
std::int64_t peak_memory_bytes();

/// Threads for each rank: `asked` when positive, else OMP_NUM_THREADS or SLURM_CPUS_PER_TASK, else the processors that
/// the rank may use, shared out among the ranks of the node that have the same mask, and no more than the whole
/// processors in its share of a CPU quota (quota_share; 0: none): threads that use a quota up stop, all at a time, and
/// the other ranks wait for them. At least 1.
int threads_per_rank(int asked, int ranks_with_mask, double quota_share);

/// Threads that a process without other ranks has by default: those of its mask, within its group's CPU quota.
int threads_alone();

}  // namespace moesaic::device
