#include "plan/dispatch_traffic.hpp"

namespace moesaic::plan {
namespace {

/// What one domain gets of some rows, and the pieces that it sends back.
struct Share {
  std::int64_t rows = 0, pieces = 0;
  std::size_t piece_bytes = 0;
};

/// The share of each domain in rows of one owner.
std::vector<Share> shares_of(const DispatchSetting& setting, Range rows, std::span<const std::int32_t> slots) {
  std::vector<Share> shares(static_cast<std::size_t>(setting.domains.size()));
  std::vector<std::int64_t> last(shares.size(), -1);  // the row that each domain got last
  for (std::int64_t row = rows.begin; row < rows.end; ++row)
    for (std::int64_t a = 0; a < setting.active(); ++a) {
      const SubsetTree& tree = setting.tree_of(slots[static_cast<std::size_t>(row * setting.active() + a)]);
      for (const Fragment& fragment : tree.fragments) {
        const auto domain = static_cast<std::size_t>(fragment.domain);
        if (last[domain] != row) ++shares[domain].rows;
        last[domain] = row;
        ++shares[domain].pieces;
        shares[domain].piece_bytes += setting.pieces.of(tree);
      }
    }
  return shares;
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
  const int ranks = domains.num_ranks();
  DispatchTraffic traffic{PairTraffic(ranks), PairTraffic(ranks)};
  for (int r = 0; r < ranks; ++r) {
    const StageRank owner{r};
    const Range own = rows.rows(owner);
    if (own.empty()) continue;
    const std::vector<Share> shares = shares_of(setting, own, slots);
    for (int domain = 0; domain < domains.size(); ++domain) {
      if (domain == domains.domain(owner)) continue;
      const StageRank relay = domains.relay(domain, owner);
      const Share& share = shares[static_cast<std::size_t>(domain)];
      const std::int64_t sent = how.sends_all_rows ? own.size() : share.rows;
      if (how.ownership == Ownership::kShared) traffic.dispatch.add(owner, relay, sent, message.size_bytes(sent));
      if (share.pieces > 0) traffic.combine.add(relay, owner, share.pieces, share.piece_bytes);
    }
  }
  return traffic;
}

DispatchTraffic logical_traffic(const DispatchSetting& setting, const RowMap& rows, std::size_t row_bytes,
                                std::span<const std::int32_t> slots) {
  const int ranks = setting.domains.num_ranks();
  DispatchTraffic traffic{PairTraffic(ranks), PairTraffic(ranks)};
  for (int r = 0; r < ranks; ++r) {
    const StageRank owner{r};
    const std::vector<Share> shares = shares_of(setting, rows.share(owner), slots);
    for (int d = 0; d < ranks; ++d) {
      const Share& share = shares[static_cast<std::size_t>(d)];
      const StageRank holder = setting.domains.members(d)[0];
      if (share.rows == 0) continue;
      traffic.dispatch.add(owner, holder, share.rows, static_cast<std::size_t>(share.rows) * row_bytes);
      traffic.combine.add(holder, owner, share.pieces, share.piece_bytes);
    }
  }
  return traffic;
}

std::vector<std::int64_t> terms_of_ranks(const Grid& grid, std::span<const std::int32_t> slots) {
  std::vector<std::int64_t> terms(static_cast<std::size_t>(grid.ranks_per_stage()));
  for (const std::int32_t slot : slots)
    for (int slice = 0; slice < grid.layout().etp; ++slice)
      ++terms[static_cast<std::size_t>(index(grid.holder(grid.placement().subset_of_slot(slot), slice)))];
  return terms;
}

}  // namespace moesaic::plan
