#pragma once

#include <vector>

#include "backend/backend.hpp"
#include "io/store_reader.hpp"
#include "moe/experts.hpp"
#include "plan/grid.hpp"

namespace moesaic {

/// One layer's weights on one rank; immutable after loading.
struct LayerWeights {
  backend::Ptr<const float> norm_attn_in;   ///< (D)
  backend::Ptr<const float> norm_attn_out;  ///< (D)
  backend::Ptr<const float> norm_moe_in;    ///< (D)
  backend::Ptr<const float> norm_moe_out;   ///< (D)
  backend::Ptr<const float> router;         ///< (D, E)
  backend::Matrix qkv;                      ///< (D, q heads | k heads | v heads of the shard, K each)
  backend::Matrix attn_out;                 ///< (leaves of the shard, D)
  moe::ExpertWeights experts;               ///< that its subset holds, its slice of each
};

/// Everything one rank owns, in one block of memory.
struct ModelWeights {
  IdVector<plan::StageLayer, LayerWeights> layers;
  backend::Matrix embedding;             ///< Act (D, vocabulary of the rank); first and last stage only
  backend::Ptr<const float> final_norm;  ///< (D); last stage only
  backend::Buffer memory;
};

/// Reads what the rank owns from the store with all threads; the backend packs pieces as they come: no second copy is
/// made. Error on a piece that cannot be read or fails its check. The backend outlives the weights.
ModelWeights load_weights(const io::StoreReader& store, const plan::Grid& grid, plan::WorldRank rank,
                          backend::Backend& backend);

}  // namespace moesaic
