#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/mpi.hpp"

namespace moesaic::apps::doctor {

/// What a rank knows of itself and its node.
struct RankFacts {
  static constexpr std::int64_t kUnlimited = -1;

  std::string host;
  int node = 0;                 ///< the lowest world rank of those that share its memory
  std::vector<int> processors;  ///< that it may use, by the system's numbers
  int num_node_processors = 0;  ///< that the job may use of the node
  double cpu_quota = 0;         ///< processors that its control group may use on average; 0: no quota
  int num_threads = 1;
  std::vector<std::string> thread_warnings;  ///< of start/threads.hpp
  std::string placement;                     ///< of the node's threads, in words
  std::string cpu, isa, build;
  std::string mpi_library;
  std::string transport, transport_layer;                ///< comm::Transport's text and layer
  std::vector<std::string> networks, memory_transports;  ///< comm::Transport's
  bool reads_neighbour = true;    ///< may read the memory of the node's next rank, as vader wants to
  std::string single_copy;        ///< how vader was told to copy long messages; empty: not told
  bool has_rdma_adapter = false;  ///< InfiniBand, RoCE or Omni-Path
  std::string launcher;           ///< "srun", "mpirun" or "none"
  int slurm_tasks = 0;            ///< that Slurm was asked for; 0: not under Slurm
  int slurm_nodes = 0;
  std::int64_t memory_bytes = 0;  ///< that the node, or the job's control group, can still give out
  std::int64_t total_memory_bytes = 0;
  std::int64_t shared_memory_bytes = 0;  ///< left in /dev/shm
  std::int64_t lockable_bytes = kUnlimited, address_space_bytes = kUnlimited, open_files = kUnlimited;
  std::int64_t process_memory_bytes = kUnlimited;  ///< that the rank's own limits (ulimit -v, -d) leave it
  std::string huge_pages;
};

/// Collective: of all ranks, on rank 0; empty elsewhere. Makes the team of threads that commands would make.
std::vector<RankFacts> gather_facts(const comm::Communicator& world, const comm::Communicator& node, int num_threads);

}  // namespace moesaic::apps::doctor
