#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/range.hpp"
#include "config/ids.hpp"
#include "model/token_batch.hpp"

namespace moesaic {

/// Points of the forward pass that can be looked at; each is a row of its owner, so the same in every layout.
enum class Operation : std::uint8_t {
  kEmbed,
  kAttnNorm,
  kAttn,
  kAttnResidual,
  kMoeNorm,
  kRouter,
  kMoe,
  kMoeResidual,
  kFinalNorm,
  kLogits
};

constexpr std::string_view name(Operation operation) {
  constexpr std::string_view kNames[] = {"embed",  "attn_norm", "attn",         "attn_residual", "moe_norm",
                                         "router", "moe",       "moe_residual", "final_norm",    "logits"};
  return kNames[static_cast<std::size_t>(operation)];
}

/// Where something happens: layer -1 is before the first one, num_layers after the last.
struct ProbePoint {
  std::int32_t layer = 0;
  Operation operation = Operation::kEmbed;
  friend auto operator<=>(const ProbePoint&, const ProbePoint&) = default;
};

/// Calls visit(row of the batch, its part of each list) for the rows that a probe is shown; a list is (rows.size(),
/// width) with any width.
template <class Visit, class... T>
void for_each_row(Range rows, Visit&& visit, std::span<const T>... lists) {
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const auto of_row = [&](auto list) {
      const std::size_t width = list.size() / static_cast<std::size_t>(rows.size());
      return list.subspan(static_cast<std::size_t>(i) * width, width);
    };
    visit(static_cast<std::size_t>(rows.begin + i), of_row(lists)...);
  }
}

/// Sees what a rank owns as it is computed.
class Probe {
 public:
  virtual ~Probe() = default;
  /// values: fp32 (rows.size(), width).
  virtual void see(ProbePoint point, const TokenBatch& batch, Range rows, std::span<const float> values) = 0;
  /// experts, gates: (rows.size(), A), best first.
  virtual void see_routing(ModelLayer layer, const TokenBatch& batch, Range rows, std::span<const std::int32_t> experts,
                           std::span<const float> gates) = 0;
};

}  // namespace moesaic
