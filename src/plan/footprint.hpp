#pragma once

#include <cstdint>
#include <vector>

#include "config/numeric_setting.hpp"
#include "config/weight_format.hpp"
#include "plan/rank_placement.hpp"

namespace moesaic::plan {

/// What a run needs beside the weights.
struct Workload {
  std::int64_t num_sequences = 1;
  std::int64_t context = 0;       ///< tokens a sequence may reach; 0: the model's sequence_len
  std::int64_t batch_rows = 512;  ///< rows of a micro-batch
  std::int64_t kv_blocks = 0;     ///< of each group's KV cache; 0: what so many sequences of that context take
  bool replicated = false;        ///< every rank owns all rows of its stage
};

/// What decides about the bytes of weights and of activations.
struct Arithmetic {
  WeightFormat format = WeightFormat::kInt8;
  Numerics numerics = Numerics::kW8A16;
  DispatchPayload payload = DispatchPayload::kAct;

  NumericSetting numeric() const { return {numerics, payload}; }
};

/// Bytes of a matrix of `leaves` leaves with leaf_size inputs each, with its scales; the padding of its columns, a few
/// at most, is left out.
std::int64_t matrix_bytes(WeightFormat format, std::int64_t leaves, std::int64_t leaf_size, std::int64_t outputs);

/// Memory that one rank owns, bytes.
struct Footprint {
  std::int64_t weight_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t buffer_bytes = 0;
  std::int64_t total_bytes() const { return weight_bytes + kv_bytes + buffer_bytes; }
};

Footprint footprint(const Grid& grid, WorldRank rank, const Arithmetic& arithmetic, const Workload& workload);

/// Bytes of a whole model's weights in the memory of one rank.
std::int64_t model_weight_bytes(const ModelConfig& config, const Arithmetic& arithmetic);

/// Expected traffic between two ranks, for one token under uniform routing, averaged over who owns its row.
struct Link {
  WorldRank from, to;
  double bytes_per_token = 0;
};

/// The links of all pairs of ranks that send each other anything.
std::vector<Link> links(const Grid& grid, const NumericSetting& numeric, const RankPlacement& ranks);

}  // namespace moesaic::plan
