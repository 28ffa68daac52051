#include "start/memory_check.hpp"

#include <algorithm>
#include <limits>

#include "base/counted.hpp"
#include "base/out_of_memory.hpp"
#include "base/units.hpp"
#include "comm/agree.hpp"
#include "host/memory.hpp"
#include "host/node.hpp"

namespace moesaic {
namespace {

constexpr std::int64_t kBeside_bytes = std::int64_t{128} << 20;

}  // namespace

std::int64_t process_memory_left_bytes() {
  const auto limit = tightest_process_limit();
  if (!limit) return std::numeric_limits<std::int64_t>::max();
  return std::max<std::int64_t>(limit->left_bytes() - kBeside_bytes, 0);
}

void require_memory(const comm::Communicator& world, const MemoryNeed& own) {
  const comm::Communicator node = world.split_node();
  const double needed = node.sum(static_cast<double>(own.bytes));
  const double available = node.min(static_cast<double>(host::available_memory_bytes()));
  std::optional<std::string> error;
  if (node.rank() == 0 && needed > available)
    error = fmt::format("{}: the node has {:.0f} MiB of memory left, its {} would need {:.0f} MiB ({}); {}",
                        host::host_name(), available / kMiB, counted(node.size(), "rank"), needed / kMiB, own.contents,
                        own.remedy);
  else if (own.bytes > process_memory_left_bytes())
    if (const auto limit = tightest_process_limit())
      error = fmt::format(
          "{}: {} lets a rank have {:.0f} MiB, of which {:.0f} MiB are in use, and it would need {:.0f} MiB more "
          "({}) and {:.0f} MiB for libraries; raise the limit ({} unlimited), or {}",
          host::host_name(), limit->option, static_cast<double>(limit->limit_bytes) / kMiB,
          static_cast<double>(limit->used_bytes) / kMiB, static_cast<double>(own.bytes) / kMiB, own.contents,
          static_cast<double>(kBeside_bytes) / kMiB, limit->option, own.remedy);
  comm::agree(world, error);
}

}  // namespace moesaic
