#pragma once

#include "base/bytes.hpp"
#include "packed_matrix.hpp"

/// Packing: backend::Packer says what these functions do, PanelLayout how matrices lie.
namespace moesaic::cpu {

void begin_packing(const PanelLayout& shape, std::byte* data);
void pack(const PanelLayout& shape, const backend::PackBlock& block, const std::byte* source, std::byte* data);
void pack_scales(const PanelLayout& shape, const backend::PackScales& block, const std::byte* source, std::byte* data);
void pack_rows(const PanelLayout& shape, std::int64_t first_column, std::int64_t num_rows, const float* rows,
               std::byte* data);
void clear_padding(const PanelLayout& shape, std::byte* data);

// Of int4 matrices.
void pack_int4(const PanelLayout& shape, const backend::PackBlock& block, const std::byte* source, std::byte* data);
void clear_int4(const PanelLayout& shape, std::byte* data);

}  // namespace moesaic::cpu
