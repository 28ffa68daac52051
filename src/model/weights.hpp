#pragma once

#include <vector>

#include "base/aligned_buffer.hpp"
#include "io/store_reader.hpp"
#include "moe/experts.hpp"
#include "ops/packed_matrix.hpp"
#include "plan/grid.hpp"

namespace moesaic {

/// One layer's weights on one rank; immutable after loading.
struct LayerWeights {
  const float* norm_attn_in = nullptr;      ///< (D)
  const float* norm_attn_out = nullptr;     ///< (D)
  const float* norm_moe_in = nullptr;       ///< (D)
  const float* norm_moe_out = nullptr;      ///< (D)
  const float* router = nullptr;            ///< (D, E)
  ops::PackedMatrix qkv;                    ///< (D, q heads | k heads | v heads of the shard, K each)
  ops::PackedMatrix attn_out;               ///< (leaves of the shard, D)
  std::vector<moe::ExpertWeights> experts;  ///< that its subset holds, its slice of each
};

/// Everything one rank owns, in one block of memory.
struct ModelWeights {
  std::vector<LayerWeights> layers;   ///< of the rank's stage
  ops::PackedMatrix embedding;        ///< Act (D, vocabulary of the rank); first and last stage only
  const float* final_norm = nullptr;  ///< (D); last stage only
  AlignedBuffer memory;
};

/// Reads what the rank owns from the store with all threads, packing pieces as they come: no second copy is made. Error
/// on a piece that cannot be read or fails its check.
ModelWeights load_weights(const io::StoreReader& store, const plan::Grid& grid, plan::WorldRank rank,
                          Numerics numerics);

}  // namespace moesaic
