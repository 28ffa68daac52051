#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "xai/pickled_tensor.hpp"

namespace moesaic::converters {

/// Reads one parameter from a pickle of protocol 2 to 5. Only the globals that such files use are known, by name: any
/// other is an Error that names it, and nothing of it runs. Memory is bounded by the number of opcodes, never by a
/// declared length. Error (truncated, malformed, forbidden, unsupported) begins with `source`.
PickledTensor read_pickle(std::span<const std::byte> bytes, const std::string& source);

/// The payload's bytes; Latin-1 text is decoded into `storage`, and `consumed` is told, part by part, what of the text
/// has been read.
std::span<const std::byte> payload_bytes(const PickledArray& array, std::vector<std::byte>& storage,
                                         const std::string& source,
                                         const std::function<void(std::span<const std::byte>)>& consumed = {});

}  // namespace moesaic::converters
