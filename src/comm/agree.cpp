#include "comm/agree.hpp"

namespace moesaic::comm {

void agree(const Communicator& comm, const std::optional<std::string>& error) {
  const int mine = error ? comm.rank() : comm.size();
  int first = 0;
  MOESAIC_MPI(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm.handle()));
  if (first == comm.size()) return;
  std::string message = error.value_or("");
  comm.broadcast(message, first);
  if (first != 0) message = fmt::format("rank {}: {}", first, message);
  throw Error(message);
}

}  // namespace moesaic::comm
