#pragma once

#include "comm/mpi.hpp"
#include "moe/dispatch.hpp"

namespace moesaic::measure {

/// A rank's part of a layer.
struct LayerInput {
  backend::Backend& backend;
  const std::byte* n;  ///< Input (own rows, D)
  const plan::RowMap& rows;
  const moe::Routing& routing;
  ModelLayer layer;
  float* m;  ///< (own rows, D)
};

/// How much of dispatch and combine hides behind experts that take as long, in per cent, as the OSU micro-benchmarks
/// count it: max(0, 100 - 100 (overall - experts) / exchange alone). Times are the slowest rank's, medians of
/// `repetitions`. Collective.
double overlap_percent(const comm::Communicator& world, moe::Dispatcher& dispatcher, const LayerInput& input,
                       int repetitions);

}  // namespace moesaic::measure
