#pragma once

#include <mpi.h>

namespace moesaic::comm {

/// Ends the job with the diagnosis of comm/watch.hpp: the failed call, its error string, file:line, rank and host, and
/// what the other ranks do (with some transports a dead peer shows as a failed call).
[[noreturn]] void mpi_failed(int code, const char* call, const char* file, int line);

}  // namespace moesaic::comm

/// Every MPI call is checked where it is made.
#define MOESAIC_MPI(call)                                                    \
  do {                                                                       \
    if (const int moesaic_code_ = (call); moesaic_code_ != MPI_SUCCESS)      \
      ::moesaic::comm::mpi_failed(moesaic_code_, #call, __FILE__, __LINE__); \
  } while (false)
