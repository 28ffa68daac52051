#include "measure/stand_in_experts.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/hash.hpp"
#include "base/parallel.hpp"
#include "base/random.hpp"
#include "measure/row_values.hpp"

namespace moesaic::measure {
namespace {

constexpr std::uint64_t kPlaces = 4096;  ///< at which a row or a leaf's output may begin in the values
constexpr std::uint64_t kCopies = 64;    ///< different outputs of experts that copy them
constexpr std::int64_t kGrain_terms = 4;

using Sum = std::vector<float>;  ///< fp32 (D); empty: absent

void add(const Sum& from, Sum& into) {
  for (std::size_t i = 0; i < into.size(); ++i) into[i] += from[i];
}

}  // namespace

StandInExperts::StandInExperts(const plan::Grid& grid, const Compute& compute, DispatchPayload payload)
    : grid_(grid),
      compute_(compute),
      rounds_(NumericSetting{compute.numerics(), payload}.rounds_expert_rows()),
      width_(grid.config().emb_size),
      input_(input_row(compute.numerics(), width_)),
      act_(activation_row(compute.numerics(), width_)) {
  values_.resize(static_cast<std::size_t>(width_) + kPlaces);
  for (std::size_t i = 0; i < values_.size(); ++i)
    values_[i] = static_cast<float>(random_word(i) >> 40) * 0x1p-23f - 1.0f;
  copies_.resize(kCopies * act_.row_bytes());
  for (std::size_t i = 0; i < kCopies; ++i) to_activation(values_.data() + i, copies_.data() + i * act_.row_bytes());
}

void StandInExperts::to_activation(const float* x, std::byte* y) const {
  compute_.kernels().to_activation(*compute_.queue, at(x), width_, 1, width_, 1, at(y));
}

void StandInExperts::make_row(std::int64_t row, std::byte* to) const {
  const std::uint64_t place = random_word(static_cast<std::uint64_t>(row)) % kPlaces;
  Sum x(values_.begin() + static_cast<std::ptrdiff_t>(place),
        values_.begin() + static_cast<std::ptrdiff_t>(place) + width_);
  x[0] = static_cast<float>(row % 256) / 256.0f;  // places are fewer than rows
  compute_.kernels().to_input(*compute_.queue, at(x.data()), 1, width_, 1, at(to));
}

std::vector<float> StandInExperts::values_of(const std::byte* row) const {
  std::vector<float> values(width());
  row_values(input_, row, values.data());
  return values;
}

std::vector<std::byte> StandInExperts::as_experts_get(const std::byte* row) const {
  std::vector<std::byte> rounded(row, row + row_bytes());
  if (!rounds_) return rounded;
  Sum x = values_of(row);
  float largest = 0;
  for (const float value : x) largest = std::max(largest, std::abs(value));
  const float scale = largest < 0x1p-100f ? 0 : largest / 127;
  for (float& value : x) {
    const auto q = static_cast<std::int8_t>(scale == 0 ? 0 : std::nearbyint(value * (127 / largest)));
    value = static_cast<float>(q) * scale;
  }
  compute_.kernels().to_input(*compute_.queue, at(x.data()), 1, width_, 1, at(rounded.data()));
  return rounded;
}

std::uint64_t StandInExperts::key(const std::byte* row, StandIn kind) const {
  std::uint64_t word = 0;
  if (kind == StandIn::kCopy) {
    std::memcpy(&word, row, std::min(sizeof word, row_bytes()));
    return word;
  }
  const Hash128 hash = hash_bytes({row, row_bytes()});
  std::memcpy(&word, hash.bytes.data(), sizeof word);
  return word;
}

std::size_t StandInExperts::place(std::uint64_t key, ExpertId expert, std::int64_t leaf) const {
  const auto number = static_cast<std::uint64_t>(expert.value() * kNumLeaves + leaf);
  return random_word(key ^ random_word(number)) % kPlaces;
}

std::size_t StandInExperts::copy(std::uint64_t key, ExpertId expert) const { return place(key, expert, 0) % kCopies; }

const float* StandInExperts::leaf(std::uint64_t key, ExpertId expert, std::int64_t leaf) const {
  return values_.data() + place(key, expert, leaf);
}

void StandInExperts::add_up(std::uint64_t key, ExpertId expert, Range leaves, float* sum) const {
  if (leaves.size() == 1) {
    std::copy_n(leaf(key, expert, leaves.begin), width_, sum);
    return;
  }
  thread_local Sum rights[kNumLeaves];  // by the subtree's size: no two of one size are open at once
  Sum& right = rights[leaves.size() / 2];
  const std::int64_t middle = leaves.begin + leaves.size() / 2;
  add_up(key, expert, {leaves.begin, middle}, sum);
  right.resize(static_cast<std::size_t>(width_));
  add_up(key, expert, {middle, leaves.end}, right.data());
  for (std::int64_t i = 0; i < width_; ++i) sum[i] += right[static_cast<std::size_t>(i)];
}

void StandInExperts::run(plan::StageRank me, ModelLayer layer, moe::ExpertBatch& batch, StandIn kind) const {
  const auto& own = grid_.placement().experts(layer, grid_.subset(me));
  const bool complete = grid_.layout().etp == 1;
  const Range leaves = grid_.expert_leaves()[grid_.slice(me)];
  const auto width = static_cast<std::size_t>(width_);
  const std::size_t term_bytes = complete ? act_.row_bytes() : width * sizeof(float);
  for (std::size_t e = 0; e < own.size(); ++e) {
    const Range terms = batch.expert_terms(static_cast<std::int64_t>(e));
    parallel_for(terms.size(), kGrain_terms, [&](std::int64_t i) {
      const auto term = static_cast<std::size_t>(terms.begin + i);
      const std::uint64_t row_key = key(batch.rows.host() + term * row_bytes(), kind);
      std::byte* const output = batch.outputs.address() + term * term_bytes;
      if (kind == StandIn::kCopy) {
        const std::size_t number = copy(row_key, own[e]);
        if (complete)
          std::memcpy(output, copies_.data() + number * term_bytes, term_bytes);
        else if (leaves.contains(0))
          std::memcpy(output, values_.data() + number, term_bytes);
        else
          std::memset(output, 0, term_bytes);
        return;
      }
      thread_local Sum sum;
      sum.resize(width);
      add_up(row_key, own[e], leaves, sum.data());
      if (complete)
        to_activation(sum.data(), output);
      else
        std::memcpy(output, sum.data(), term_bytes);
    });
  }
}

void StandInExperts::expected(const std::byte* row, std::span<const std::int32_t> experts, std::span<const float> gates,
                              float* m, StandIn kind) const {
  const auto width = static_cast<std::size_t>(width_);
  const std::uint64_t row_key = key(as_experts_get(row).data(), kind);
  std::vector<std::byte> rounded(act_.row_bytes());
  Sum groups[kNumLeaves];  // of experts, each ascending
  for (std::size_t a = 0; a < experts.size(); ++a) {
    const ExpertId expert(experts[a]);
    Sum term(width);
    if (kind == StandIn::kCopy)
      std::copy_n(values_.data() + copy(row_key, expert), width, term.begin());
    else
      add_up(row_key, expert, {0, kNumLeaves}, term.data());
    to_activation(term.data(), rounded.data());
    Sum values(width);
    row_values(act_, rounded.data(), values.data());
    for (std::size_t i = 0; i < width; ++i) term[i] = gates[a] * values[i];
    std::size_t group = kNumLeaves - 1;
    while (static_cast<std::int64_t>(group) * grid_.config().num_experts / kNumLeaves > experts[a]) --group;
    if (groups[group].empty())
      groups[group] = std::move(term);
    else
      add(term, groups[group]);
  }
  for (std::size_t size = 1; size < kNumLeaves; size *= 2)
    for (std::size_t left = 0; left < kNumLeaves; left += 2 * size) {
      Sum& right = groups[left + size];
      if (right.empty()) continue;
      if (groups[left].empty())
        groups[left] = std::move(right);
      else
        add(right, groups[left]);
      right.clear();
    }
  std::copy(groups[0].begin(), groups[0].end(), m);
}

}  // namespace moesaic::measure
