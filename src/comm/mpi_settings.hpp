#pragma once

namespace moesaic::comm {

/// Sets the variables that MPI_Init of Open MPI 4.1 reads and that only a rank can tell the need of, since they depend
/// on who has started it and on the transport that was asked for. What is set already stays. To be called before
/// MPI_Init.
void set_mpi_variables();

/// Whether a launcher's variables say that this rank is the first of its node; also without a launcher. For what is
/// said before MPI_Init, once a node.
bool is_first_of_node();

}  // namespace moesaic::comm
