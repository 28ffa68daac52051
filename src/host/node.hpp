#pragma once

#include <string>

/// Names of this node and of its processor.
namespace moesaic::host {

std::string host_name();

/// The processor as /proc/cpuinfo tells it: "AMD EPYC, family 25 model 17".
std::string cpu_name();

}  // namespace moesaic::host
