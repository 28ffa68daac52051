#pragma once

#include "base/hash.hpp"
#include "io/file.hpp"
#include "io/store_index.hpp"

namespace moesaic::io {

/// XXH3-128 of the bytes that belong to no piece, index, tokenizer or header: HDF5's own metadata and the padding. Our
/// readers do not need them; other tools do.
Hash128 structure_hash(const File& file, const StoreIndex& index);

}  // namespace moesaic::io
