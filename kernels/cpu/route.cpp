#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "base/parallel.hpp"
#include "drivers.hpp"

/// The router: which experts a row goes to.
namespace moesaic::cpu {
namespace {

constexpr std::int64_t kGrain_rows = 4;  ///< that are worth another thread

/// Softmax in place: the maximum is subtracted, the sum runs ascending.
void softmax(std::span<float> x) {
  const float maximum = *std::max_element(x.begin(), x.end());
  float sum = 0;
  for (float& value : x) {
    value = static_cast<float>(math::exp_f64(static_cast<double>(value - maximum)));
    sum += value;
  }
  for (float& value : x) value = value / sum;
}

/// Puts the row's best experts into `routed`, at `first`.
void choose(std::span<const float> gates, std::int64_t num_active, std::int64_t first,
            const backend::RoutedRows& routed) {
  thread_local std::vector<std::int32_t> order;
  order.resize(gates.size());
  std::iota(order.begin(), order.end(), 0);
  const auto gate = [&](std::int32_t expert) { return gates[static_cast<std::size_t>(expert)]; };
  const auto best_end = order.begin() + num_active;
  std::partial_sort(order.begin(), best_end, order.end(),
                    [&](std::int32_t a, std::int32_t b) { return gate(a) > gate(b) || (gate(a) == gate(b) && a < b); });
  const auto put = [&](std::int32_t* experts, float* chosen_gates) {
    for (auto expert = order.begin(); expert < best_end; ++expert) {
      *experts++ = *expert;
      *chosen_gates++ = gate(*expert);
    }
  };
  put(routed.experts.address() + first, routed.gates.address() + first);
  std::sort(order.begin(), best_end);
  put(routed.ascending_experts.address() + first, routed.ascending_gates.address() + first);
}

}  // namespace

void route(const Path& path, const float* x, std::int64_t num_rows, const backend::RouterShape& shape, const float* w,
           const backend::RoutedRows& routed) {
  parallel_for(num_rows, kGrain_rows, [&](std::int64_t row) {
    thread_local std::vector<float> gates;  // first the logits
    gates.resize(static_cast<std::size_t>(shape.num_experts));
    path.router_logits(x + row * shape.width, shape.width, w, shape.num_experts, gates.data());
    softmax(gates);
    choose(gates, shape.num_active, row * shape.num_active, routed);
  });
}

}  // namespace moesaic::cpu
