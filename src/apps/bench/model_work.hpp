#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "comm/mpi.hpp"
#include "model/probe.hpp"
#include "model/weights.hpp"
#include "plan/grid.hpp"

namespace moesaic::apps::bench {

/// What the batches of a run have to do at least, summed over all ranks, batch by batch.
struct ModelWork {
  std::vector<double> multiply_adds;  ///< with weight matrices; attention's scores and the router are left out
  std::vector<double> weight_bytes;   ///< read once a batch: of experts only those that a row of the batch has chosen

  double total_multiply_adds() const;
  double total_weight_bytes() const;
  /// Seconds when every batch runs at the limit that it meets first.
  double least_seconds(double peak_gmacs, double read_gbps) const;
};

/// Counts from the routing, as the forward pass shows it.
class WorkCounter final : public Probe {
 public:
  WorkCounter(const plan::Grid& grid, plan::WorldRank rank, const backend::Packer& packer)
      : grid_(grid), rank_(rank), packer_(packer) {}

  void see(ProbePoint, const TokenBatch&, Range, std::span<const float>) override {}
  void see_routing(ModelLayer layer, const TokenBatch& batch, Range rows, std::span<const std::int32_t> experts,
                   std::span<const float> gates) override;

  /// Collective.
  ModelWork work(const comm::Communicator& world, const ModelWeights& weights) const;

 private:
  struct Batch {
    std::int64_t num_rows, num_logit_rows;
    bool group_has_rows;
  };
  double weight_bytes(const ModelWeights& weights, const Batch& batch, const std::uint8_t* chosen) const;

  plan::Grid grid_;
  plan::WorldRank rank_;
  const backend::Packer& packer_;
  std::vector<Batch> batches_;
  std::map<const TokenBatch*, std::size_t> under_way_;  // number of a batch; several may be in the same layer
  std::vector<std::uint8_t> chosen_;                    // (batches, L, E), own rows' choices in own layers
};

}  // namespace moesaic::apps::bench
