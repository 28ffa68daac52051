#pragma once

#include <spdlog/spdlog.h>

namespace moesaic {

/// Sets up logging to stderr: rank 0 prints information and warnings, the other ranks errors only.
void start_logging(int rank);

}  // namespace moesaic
