#include "moe/node_memory.hpp"

#include <algorithm>
#include <utility>

#include "base/units.hpp"

namespace moesaic::moe {
namespace {

/// The most terms that a rank's experts may have: all rows of the stage choose as many of them as they can.
std::size_t most_terms(const plan::DispatchSetting& setting, const plan::RowMap& rows, plan::StageRank rank) {
  const std::int64_t local = setting.slots(rank).size();
  return static_cast<std::size_t>(rows.num_rows() * std::min(local, setting.active()));
}

}  // namespace

NodeMemory::NodeMemory(const DispatchContext& context) : context_(context), segments_(context.members().size()) {
  if (context.traits.by_nodes) shared_.emplace(context.stage.split(context.domain().value()));
}

void NodeMemory::lay_out(const plan::RowMap& rows) {
  if (laid_out_ == rows) return;
  laid_out_ = rows;
  for (const plan::MemberId member : segments_.ids())
    segments_[member].slots = slots_of(rows, context_.members()[member]);
  if (shared_)
    place_in_shared_memory(rows);
  else
    place_in_own_memory();
}

std::vector<NodeMemory::Slot> NodeMemory::slots_of(const plan::RowMap& rows, plan::StageRank rank) const {
  const plan::Domains& domains = context_.setting.domains;
  std::vector<Slot> slots;
  if (!context_.rows_travel()) return slots;
  for (const plan::StageRank source : domains.ranks()) {
    const std::int64_t num_rows = rows.rows(source).size();
    if (domains.domain(source) == domains.domain(rank) || num_rows == 0) continue;
    if (domains.relay(domains.domain(rank), source) != rank) continue;
    slots.push_back({source, context_.message().size_bytes(num_rows), {}});
  }
  return slots;
}

void NodeMemory::place_in_own_memory() {
  std::vector<Slot>& slots = segments_[plan::MemberId(0)].slots;
  while (private_.size() < slots.size()) private_.emplace_back(context_.backend, backend::Space::kPinned);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    private_[i].reserve(slots[i].size_bytes);
    slots[i].memory = private_[i].slice();
  }
}

/// In a segment own rows come first, then slots, then outputs.
void NodeMemory::place_in_shared_memory(const plan::RowMap& rows) {
  const auto lay_out = [&](plan::MemberId member, backend::Slice memory) {  // returns the bytes that it takes
    Segment& segment = segments_[member];
    const plan::StageRank rank = context_.members()[member];
    std::size_t size = 0;
    const auto take = [&](std::size_t size_bytes) { return memory + std::exchange(size, size + aligned(size_bytes)); };
    segment.own_message = take(context_.message().size_bytes(rows.rows(rank).size()));
    for (Slot& slot : segment.slots) slot.memory = take(slot.size_bytes);
    segment.outputs = take(most_terms(context_.setting, rows, rank) * context_.setting.term_bytes()).data;
    return size;
  };
  meet();  // nobody reads what lies there any more
  std::size_t most = 0;
  for (const plan::MemberId member : segments_.ids()) most = std::max(most, lay_out(member, {}));
  shared_->reserve(most);
  for (const plan::MemberId member : segments_.ids()) {
    std::byte* const host = shared_->of(member.value());
    lay_out(member, {context_.backend.adopt({host, most}), host});
  }
}

void NodeMemory::meet() {
  context_.queue.wait();
  shared_->barrier([&] { context_.stage.progress(); });
}

}  // namespace moesaic::moe
