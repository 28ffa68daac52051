#pragma once

#include "comm/mpi.hpp"

/// Long messages inside a node: Open MPI's shared memory (vader) copies them once, by reading the sender's memory,
/// where the kernel lets it. Containers often forbid it, and Open MPI, which does not try it first, then prints an
/// error for every message.
namespace moesaic::comm {

inline constexpr const char* kSingleCopySetting = "OMPI_MCA_btl_vader_single_copy_mechanism";

/// Before MPI_Init: sets kSingleCopySetting to none when this process may not read another's memory, unless it is set.
void avoid_forbidden_reads();

/// Collective over a node's ranks: whether this rank can read the memory of the next one; true for a rank alone.
bool reads_neighbour(const Communicator& node);

}  // namespace moesaic::comm
