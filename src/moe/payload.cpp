#include "moe/payload.hpp"

#include <cstring>

#include "base/parallel.hpp"
#include "base/trace.hpp"

namespace moesaic::moe {
namespace {

constexpr std::int64_t kGrain_rows = 4;  ///< that are worth another thread

/// fp32 (D), of this thread.
float* scratch(std::int64_t width) {
  thread_local AlignedBuffer values;
  values.reserve(static_cast<std::size_t>(width) * sizeof(float));
  return values.as<float>();
}

}  // namespace

Payload::Payload(std::int64_t width, const ops::Kernels& kernels, const NumericSetting& setting)
    : kernels_(kernels),
      quantising_(ops::kernels(kernels.isa, Numerics::kW8A8)),
      rounds_(setting.rounds_expert_rows()),
      input_(setting.row(width)),
      travelling_(setting.expert_row(width)) {}

const std::byte* Payload::encode(const std::byte* n, std::int64_t num_rows) {
  if (!rounds_) return n;
  const TraceZone zone(Zone::kPermute);
  encoded_.reserve(static_cast<std::size_t>(num_rows) * row_bytes());
  parallel_for(num_rows, kGrain_rows, [&](std::int64_t row) {
    const auto at = static_cast<std::size_t>(row);
    float* const values = scratch(input_.width);
    kernels_.from_activation(n + at * input_.row_bytes(), input_.width, 1, values);
    quantising_.to_input(values, 1, input_.width, 1, encoded_.data() + at * row_bytes());
  });
  return encoded_.data();
}

void Payload::decode(const std::byte* row, std::byte* to) const {
  if (!rounds_) {
    std::memcpy(to, row, row_bytes());
    return;
  }
  const auto* const q = reinterpret_cast<const std::int8_t*>(row);
  LeafScale leaf;
  std::memcpy(&leaf, row + travelling_.scales_offset_bytes(), sizeof leaf);
  float* const values = scratch(input_.width);
  for (std::int64_t i = 0; i < input_.width; ++i) values[i] = static_cast<float>(q[i]) * leaf.scale;
  kernels_.to_activation(values, input_.width, to);
}

}  // namespace moesaic::moe
