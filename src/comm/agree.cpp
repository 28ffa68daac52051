#include "comm/agree.hpp"

namespace moesaic::comm {

void agree(const Communicator& comm, const std::optional<std::string>& error) {
  const int first = static_cast<int>(comm.min(error ? comm.rank() : comm.size()));
  if (first == comm.size()) return;
  std::string message = error.value_or("");
  comm.broadcast(message, first);
  if (first != 0) message = fmt::format("rank {}: {}", first, message);
  throw Error(message);
}

}  // namespace moesaic::comm
