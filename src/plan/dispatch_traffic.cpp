#include "plan/dispatch_traffic.hpp"

#include <utility>

namespace moesaic::plan {
namespace {

/// What one domain gets of some rows, and the pieces that it sends back.
struct Share {
  std::int64_t rows = 0, pieces = 0;
  std::size_t piece_bytes = 0;
};

/// The share of each domain in rows of one owner.
IdVector<DomainId, Share> shares_of(const DispatchSetting& setting, Range rows, std::span<const std::int32_t> slots) {
  IdVector<DomainId, Share> shares(setting.domains.size());
  IdVector<DomainId, std::int64_t> last(shares.size(), -1);  // the row that each domain got last
  for (std::int64_t row = rows.begin; row < rows.end; ++row)
    for (std::int64_t a = 0; a < setting.active(); ++a) {
      const SubsetTree& tree = setting.tree_of(SlotId(slots[static_cast<std::size_t>(row * setting.active() + a)]));
      for (const Fragment& fragment : tree.fragments) {
        Share& share = shares[fragment.domain];
        if (std::exchange(last[fragment.domain], row) != row) ++share.rows;
        ++share.pieces;
        share.piece_bytes += setting.pieces.of(tree);
      }
    }
  return shares;
}

DispatchTraffic no_traffic(const Domains& domains) {
  const PairTraffic none(domains.num_ranks());
  return {none, none};
}

}  // namespace

void PairTraffic::add(StageRank source, StageRank destination, std::int64_t num_rows, std::size_t size_bytes) {
  const std::size_t pair = at(source, destination);
  rows[pair] += num_rows;
  bytes[pair] += size_bytes;
  ++messages[pair];
}

DispatchTraffic dispatch_traffic(const DispatchSetting& setting, DispatchAlgorithm algorithm, const RowMap& rows,
                                 const RowMessage& message, std::span<const std::int32_t> slots) {
  const AlgorithmTraits& how = traits(algorithm);
  const Domains& domains = setting.domains;
  DispatchTraffic traffic = no_traffic(domains);
  for (const StageRank owner : domains.ranks()) {
    const Range own = rows.rows(owner);
    if (own.empty()) continue;
    const auto shares = shares_of(setting, own, slots);
    for (const DomainId domain : domains.ids()) {
      if (domain == domains.domain(owner)) continue;
      const StageRank relay = domains.relay(domain, owner);
      const Share& share = shares[domain];
      const std::int64_t sent = how.sends_all_rows ? own.size() : share.rows;
      if (how.ownership == Ownership::kShared) traffic.dispatch.add(owner, relay, sent, message.size_bytes(sent));
      if (share.pieces > 0) traffic.combine.add(relay, owner, share.pieces, share.piece_bytes);
    }
  }
  return traffic;
}

DispatchTraffic logical_traffic(const DispatchSetting& setting, const RowMap& rows, std::size_t row_bytes,
                                std::span<const std::int32_t> slots) {
  DispatchTraffic traffic = no_traffic(setting.domains);
  for (const StageRank owner : setting.domains.ranks()) {
    const auto shares = shares_of(setting, rows.share(owner), slots);
    for (const DomainId domain : setting.domains.ids()) {
      const Share& share = shares[domain];
      const StageRank holder = setting.domains.members(domain)[MemberId(0)];
      if (share.rows == 0) continue;
      traffic.dispatch.add(owner, holder, share.rows, static_cast<std::size_t>(share.rows) * row_bytes);
      traffic.combine.add(holder, owner, share.pieces, share.piece_bytes);
    }
  }
  return traffic;
}

IdVector<StageRank, std::int64_t> terms_of_ranks(const Grid& grid, std::span<const std::int32_t> slots) {
  IdVector<StageRank, std::int64_t> terms(grid.ranks_per_stage());
  for (const std::int32_t slot : slots)
    for (const SliceId slice : grid.slices())
      ++terms[grid.holder(grid.placement().subset_of_slot(SlotId(slot)), slice)];
  return terms;
}

}  // namespace moesaic::plan
