#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/range.hpp"
#include "comm/mpi.hpp"
#include "config/model_config.hpp"
#include "io/temporary_file.hpp"
#include "model/probe.hpp"

namespace moesaic {

/// A file of router decisions, HDF5. A batch is what passed in one step of the engine; its rows are ordered by sequence
/// and position, whoever owned them. T rows of all batches, L layers, A experts a row:
///     /num_experts (1) int64
///     /first_row (batches + 1) int32   where each batch's rows begin
///     /sequence, /position (T) int32
///     /experts (L, T, A) int32, /gates (L, T, A) float32, best first
/// and the attribute `format`.
struct RoutingTraceFile {
  std::int64_t num_experts = 0, num_layers = 0, num_active = 0;
  std::vector<std::int32_t> first_row, sequences, positions;
  std::vector<std::int32_t> experts;  ///< (L, T, A)
  std::vector<float> gates;           ///< (L, T, A)

  static RoutingTraceFile read(const std::string& path);
  void write(const std::string& path) const;
  /// Collective: rank 0's on all ranks.
  void share(const comm::Communicator& world);

  std::int64_t num_batches() const { return static_cast<std::int64_t>(first_row.size()) - 1; }
  std::int64_t num_rows() const { return static_cast<std::int64_t>(sequences.size()); }
  Range rows(std::int64_t batch) const {
    const auto b = static_cast<std::size_t>(batch);
    return {first_row[b], first_row[b + 1]};
  }
  /// Experts and gates (rows of the batch, A) of a layer.
  std::pair<std::vector<std::int32_t>, std::vector<float>> layer(std::int64_t batch, ModelLayer layer) const;
};

/// Records what routers choose, for --trace-routing.
class RoutingTrace final : public Probe {
 public:
  explicit RoutingTrace(const ModelConfig& config) : config_(config) {}
  void see(ProbePoint, const TokenBatch&, Range, std::span<const float>) override {}
  void see_routing(ModelLayer layer, const TokenBatch& batch, Range rows, std::span<const std::int32_t> experts,
                   std::span<const float> gates) override;

  /// Collective: gathers everything on rank 0, which writes the file in its `place` and gives it its name.
  void publish(const comm::Communicator& world, std::optional<io::TemporaryFile>& place) const;

 private:
  RoutingTraceFile gathered(std::span<const std::int32_t> words) const;

  ModelConfig config_;
  std::vector<std::int32_t> words_;  // records of batch, layer, sequence, position, then A experts, then A gates
};

}  // namespace moesaic
