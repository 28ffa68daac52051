#pragma once

#include "comm/mpi.hpp"
#include "comm/watch.hpp"

namespace moesaic::comm {

/// MPI_Init ... MPI_Finalize, with the watch of comm/watch.hpp. Construct first in main. Asks for MPI_THREAD_SERIALIZED
/// and needs FUNNELED: only main calls MPI, but in `bench dispatch --progress thread`.
class Session {
 public:
  Session(int& argc, char**& argv, LastResorts last_resorts = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
};

}  // namespace moesaic::comm
