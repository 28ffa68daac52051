#include "moe/router.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include "ops/math.hpp"

namespace moesaic::moe {
namespace {

/// Softmax in place: the maximum is subtracted, the sum runs ascending.
void softmax(std::span<float> x) {
  const float maximum = *std::max_element(x.begin(), x.end());
  float sum = 0;
  for (float& value : x) {
    value = static_cast<float>(ops::exp_f64(static_cast<double>(value - maximum)));
    sum += value;
  }
  for (float& value : x) value = value / sum;
}

}  // namespace

void Router::route(const float* n, std::int64_t num_rows, const float* weights, Routing& routing) {
  const auto experts = static_cast<std::size_t>(num_experts_), active = static_cast<std::size_t>(num_active_);
  const auto rows = static_cast<std::size_t>(num_rows);
  probabilities_.resize(rows * experts);
  kernels_.router_logits(n, num_rows, width_, weights, num_experts_, probabilities_.data());
  for (auto* list : {&routing.experts, &routing.ascending_experts}) list->resize(rows * active);
  for (auto* list : {&routing.gates, &routing.ascending_gates}) list->resize(rows * active);

  order_.resize(experts);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::span<float> p(probabilities_.data() + row * experts, experts);
    softmax(p);
    const auto gate = [&](std::int32_t expert) { return p[static_cast<std::size_t>(expert)]; };
    std::iota(order_.begin(), order_.end(), 0);
    std::partial_sort(order_.begin(), order_.begin() + num_active_, order_.end(), [&](std::int32_t a, std::int32_t b) {
      return gate(a) > gate(b) || (gate(a) == gate(b) && a < b);
    });
    const auto put = [&](std::vector<std::int32_t>& ids, std::vector<float>& gates) {
      for (std::size_t a = 0; a < active; ++a) {
        ids[row * active + a] = order_[a];
        gates[row * active + a] = gate(order_[a]);
      }
    };
    put(routing.experts, routing.gates);
    std::sort(order_.begin(), order_.begin() + num_active_);
    put(routing.ascending_experts, routing.ascending_gates);
  }
}

}  // namespace moesaic::moe
