#pragma once

#include "engine/model_loader.hpp"

namespace moesaic {

/// How much KV cache a run may have.
struct KvRequest {
  std::int64_t limit_mib = 0;      ///< of each rank; 0: most of what the weights leave of the nodes' memory
  std::int64_t num_sequences = 1;  ///< at the same time: more blocks than these can fill are not asked for
};

/// Collective: blocks of each attention group's KV cache. Error on all ranks when they do not hold one sequence of the
/// model's whole context, so that every sequence can come to its end.
std::int64_t kv_blocks(const comm::Communicator& world, const OpenedModel& opened, const plan::Workload& workload,
                       const KvRequest& request);

/// Bytes that so many blocks take on this rank.
std::int64_t kv_bytes(const comm::Communicator& world, const OpenedModel& opened, std::int64_t blocks);

}  // namespace moesaic
