#include "start/kv_budget.hpp"

#include <algorithm>
#include <cmath>

#include "base/out_of_memory.hpp"
#include "base/units.hpp"
#include "comm/agree.hpp"
#include "comm/share.hpp"
#include "engine/scheduler.hpp"
#include "host/memory.hpp"
#include "start/memory_check.hpp"

namespace moesaic::start {
namespace {

constexpr double kUsedShare = 0.9;  // of the memory that is left: the system and the transport need some

plan::Footprint footprint_of(const Session& session, plan::Workload workload, std::int64_t blocks) {
  workload.kv_blocks = blocks;
  return plan::footprint(session.grid(), plan::WorldRank{session.world().rank()}, session.arithmetic(), workload);
}

}  // namespace

std::int64_t kv_bytes(const Session& session, std::int64_t blocks) {
  return footprint_of(session, {}, blocks).kv_bytes;
}

std::int64_t kv_blocks(const Session& session, const plan::Workload& root_workload, std::int64_t limit_mib) {
  const comm::Communicator& world = session.world();
  const plan::Workload workload = comm::shared(world, root_workload);
  const plan::Footprint one = footprint_of(session, workload, 1);
  const double block_bytes = static_cast<double>(one.kv_bytes);
  double blocks;
  const char* remedy = "raise --kv-memory";
  if (limit_mib > 0) {
    blocks = std::floor(static_cast<double>(limit_mib) * kMiB / block_bytes);
  } else {
    const comm::Communicator node = world.split_node();
    const auto others = static_cast<double>(one.weight_bytes + one.buffer_bytes);
    const double left = node.min(static_cast<double>(host::available_memory_bytes())) - node.sum(others);
    const double left_to_rank = static_cast<double>(process_memory_left_bytes()) - others;
    const double of_node = left / node.sum(block_bytes), of_rank = left_to_rank / block_bytes;
    blocks = std::floor(kUsedShare * std::min(of_node, of_rank));
    const bool limited = world.min(of_rank) < world.min(of_node);
    remedy = limited ? "raise ulimit -v and -d, or use more ranks" : "use more nodes";
  }
  blocks = world.min(blocks);

  const std::int64_t context = session.config().sequence_len, dp = session.layout().dp;
  const std::int64_t of_one = blocks_for(context), of_all = of_one * ((workload.num_sequences + dp - 1) / dp);
  const double largest_block = world.max(block_bytes);
  std::optional<std::string> error;
  if (world.rank() == 0 && blocks < static_cast<double>(of_one))
    error = fmt::format(
        "the KV cache may have {:.0f} blocks of 64 tokens, one sequence of the model's whole context ({} tokens) needs "
        "{}, which is {:.0f} MiB on a rank; {}",
        std::max(blocks, 0.0), context, of_one, static_cast<double>(of_one) * largest_block / kMiB, remedy);
  comm::agree(world, error);
  return static_cast<std::int64_t>(std::min(blocks, static_cast<double>(of_all)));
}

}  // namespace moesaic::start
