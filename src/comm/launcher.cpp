#include "comm/launcher.hpp"

#include <cstdlib>
#include <initializer_list>

namespace moesaic::comm {
namespace {

/// The value of the first of these variables that is set; null when none is.
const char* first_set(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name)) return value;
  return nullptr;
}

}  // namespace

bool is_started_by_mpirun() { return first_set({"OMPI_COMM_WORLD_SIZE"}); }

bool is_started_by_launcher() { return first_set({"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_STEP_ID"}); }

std::optional<int> launched_rank() {
  const char* rank = first_set({"OMPI_COMM_WORLD_RANK", "PMIX_RANK"});
  return rank ? std::optional(std::atoi(rank)) : std::nullopt;
}

bool is_first_of_node() {
  const char* rank = first_set({"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"});
  return !rank || std::atoi(rank) == 0;
}

}  // namespace moesaic::comm
