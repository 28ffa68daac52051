#pragma once

#include <string>

namespace moesaic::apps {

/// Writes text at once. Error when standard output cannot be written.
void put(const std::string& text);

}  // namespace moesaic::apps
