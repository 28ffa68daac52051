#pragma once

#include <string>
#include <string_view>

namespace moesaic::io {

/// Error when a file that should be text in UTF-8 begins as one of another kind: compressed, an archive, in UTF-16 or
/// UTF-32, HDF5, Parquet and the like, or otherwise binary. The message says what it is and how it becomes text.
/// `begin`: its first bytes, 4096 or more where it has so many.
void require_text(std::string_view begin, const std::string& path);

}  // namespace moesaic::io
