#pragma once

#include <string>
#include <vector>

namespace moesaic::comm {

/// What carries the messages, as MPI tells it.
struct Transport {
  std::string layer;  ///< MPI's point-to-point layer: "ob1", "ucx", "cm"; empty: this MPI does not tell
  std::vector<std::string>
      networks;  ///< what reaches other nodes, sorted: "tcp"; of UCX what UCX_TLS names, if it is set
  std::vector<std::string> memory;  ///< what ranks of a node use among themselves, sorted; none for a rank alone there
  std::string text;                 ///< for people: "ob1 (tcp, vader)", with what was set
};

/// The transport of this job; after MPI_Init.
const Transport& transport_in_use();
/// Transport::text of transport_in_use().
const std::string& transport();

/// To be called before MPI_Init, which ends the process when it finds no transport: why UCX, if it is asked for, will
/// not work on this node, and the remedy. Empty when nothing speaks against it.
std::string doubtful_transport();

}  // namespace moesaic::comm
