#pragma once

#include <string>

namespace moesaic::comm {

/// What carries the messages, as MPI tells it: "ob1 (vader, tcp)". After MPI_Init.
const std::string& transport();

/// Before MPI_Init, which ends the process when it finds no transport: why UCX, if it is asked for, will not work on
/// this node, and the remedy. Empty when nothing speaks against it.
std::string doubtful_transport();

}  // namespace moesaic::comm
