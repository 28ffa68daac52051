#pragma once

#include <string>
#include <vector>

#include "comm/mpi.hpp"
#include "model/probe.hpp"

namespace moesaic {

/// Beyond this largest magnitude over the row's root mean square, 16-bit integers with one scale a row lose accuracy
/// that shows: 100 costs about a tenth, 500 about half of what bf16's rounding costs (docs/numerics.md).
inline constexpr double kMostOutlier = 300;

/// The largest max/rms of the normalised rows that a rank owns, layer by layer: what integers with one scale a row
/// (w8i16) must fear.
class Outliers final : public Probe {
 public:
  explicit Outliers(std::int64_t num_layers);
  void see(ProbePoint point, const TokenBatch& batch, Range rows, std::span<const float> values) override;
  void see_routing(ModelLayer, const TokenBatch&, Range, std::span<const std::int32_t>,
                   std::span<const float>) override {}

  /// What all ranks have seen, as text.
  struct Report {
    std::string table;                  ///< a line a layer
    std::vector<std::string> warnings;  ///< of what passes kMostOutlier
  };
  /// Collective.
  Report report(const comm::Communicator& world);

 private:
  std::int64_t num_layers_;
  std::vector<double> largest_;  // the inputs of attention by layer, those of the experts, that of the head
};

}  // namespace moesaic
