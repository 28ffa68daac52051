#pragma once

namespace moesaic::comm {

/// Sets the variables that MPI_Init of Open MPI 4.1 reads and that only a rank can tell the need of, since they depend
/// on who has started it and on the transport that was asked for. What is set already stays. To be called before
/// MPI_Init.
void set_mpi_variables();

}  // namespace moesaic::comm
