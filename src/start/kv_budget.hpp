#pragma once

#include "start/session.hpp"

namespace moesaic::start {

/// Collective: blocks of each attention group's KV cache, for rank 0's workload: as many as limit_mib holds on each
/// rank, or with 0 most of what the weights leave of the nodes' memory, but no more than the workload's sequences can
/// fill. Error on all ranks when they do not hold one sequence of the model's whole context, so that every sequence can
/// come to its end.
std::int64_t kv_blocks(const Session& session, const plan::Workload& root_workload, std::int64_t limit_mib);

/// Bytes that so many blocks take on this rank.
std::int64_t kv_bytes(const Session& session, std::int64_t blocks);

}  // namespace moesaic::start
