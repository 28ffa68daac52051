#include "moe/segment.hpp"

#include "base/units.hpp"

#include <algorithm>

namespace moesaic::moe {
namespace {


/// The most terms that a rank's experts may have: all rows of the stage choose as many of them as they can.
std::size_t most_terms(const plan::DispatchSetting& setting, const plan::RowMap& rows, plan::StageRank rank) {
  const std::int64_t local = setting.slots(rank).size();
  return static_cast<std::size_t>(rows.num_rows() * std::min(local, setting.active()));
}

}  // namespace

Segment lay_out(const plan::DispatchSetting& setting, const plan::RowMap& rows, const plan::RowMessage& message,
                plan::StageRank rank, bool rows_travel, bool shared) {
  const plan::Domains& domains = setting.domains;
  Segment segment;
  if (shared) segment.size = aligned(message.size_bytes(rows.rows(rank).size()));
  for (int i = 0; rows_travel && i < domains.num_ranks(); ++i) {
    const plan::StageRank source{i};
    const std::int64_t num_rows = rows.rows(source).size();
    if (domains.domain(source) == domains.domain(rank) || num_rows == 0) continue;
    if (domains.relay(domains.domain(rank), source) != rank) continue;
    segment.slots.push_back({source, segment.size, message.size_bytes(num_rows)});
    segment.size += aligned(segment.slots.back().size);
  }
  segment.outputs_offset = segment.size;
  if (shared) segment.size += most_terms(setting, rows, rank) * setting.term_bytes();
  return segment;
}

}  // namespace moesaic::moe
