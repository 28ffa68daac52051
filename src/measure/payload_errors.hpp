#pragma once

#include <optional>

#include "measure/gemm_layer.hpp"
#include "measure/overlap.hpp"
#include "measure/stand_in_experts.hpp"

namespace moesaic::measure {

/// Error of values against what they would be with a payload of act.
struct RelativeError {
  double rms = 0;      ///< rms of the differences over the rms of the values, all rows together
  double largest = 0;  ///< largest difference over the rms of the values of its row
};

/// What a payload of int8 does to a layer.
struct PayloadErrors {
  RelativeError input;                  ///< error of the rows that experts get
  std::optional<RelativeError> output;  ///< error of m, what dispatch, real experts and combine make of them
};

/// rounded, as_is: dispatchers with a payload of int8 and of act. gemm: nothing leaves out the output. Collective; all
/// have the result.
PayloadErrors payload_errors(const comm::Communicator& world, moe::Dispatcher& rounded, moe::Dispatcher& as_is,
                             const StandInExperts& experts, GemmLayer* gemm, const LayerInput& input);

}  // namespace moesaic::measure
