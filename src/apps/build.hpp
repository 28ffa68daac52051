#pragma once

#include <string>

namespace moesaic::apps {

/// The binary itself, "moesaic 0.1.0, build 0123456789ab": two of the same version may differ.
const std::string& build();

}  // namespace moesaic::apps
