#pragma once

#include <string>

namespace moesaic::apps {

/// The commands with a line each.
std::string usage();

}  // namespace moesaic::apps
