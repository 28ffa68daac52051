#pragma once

#include <optional>

/// What the variables of a launcher (mpirun, srun) say of this process, before MPI_Init or without MPI.
namespace moesaic::comm {

/// Whether Open MPI's mpirun has started this process.
bool is_started_by_mpirun();

/// Whether any launcher has: what this process prints then goes through the launcher.
bool is_started_by_launcher();

/// Rank of this process in MPI's world; nothing without a launcher.
std::optional<int> launched_rank();

/// Whether this rank is the first of its node; also without a launcher. For what is said once a node.
bool is_first_of_node();

}  // namespace moesaic::comm
