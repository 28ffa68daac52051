#pragma once

#include <string>

namespace moesaic::comm {

/// What carries the messages, as MPI tells it: "ob1 (vader, tcp)". After MPI_Init.
const std::string& transport();

/// What to try when MPI_Init has ended the process: the settings of the environment that choose a transport, and the
/// remedy. Empty when there are none.
std::string transport_advice();

}  // namespace moesaic::comm
