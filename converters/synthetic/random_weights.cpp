#include "synthetic/random_weights.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/dtypes.hpp"
#include "base/hash.hpp"

namespace moesaic::converters {

RandomTensor::RandomTensor(std::uint64_t seed, std::string_view name) {
  const std::string text = std::to_string(seed) + "/" + std::string(name);
  const Hash128 hash = hash_bytes(std::as_bytes(std::span(text)));
  std::memcpy(&key_, hash.bytes.data(), sizeof key_);
}

/// SplitMix64's output function over a Weyl sequence.
std::uint64_t RandomTensor::word(std::uint64_t counter) const {
  std::uint64_t z = key_ + counter * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void RandomTensor::fill_int8(std::int64_t first_elem, std::span<std::int8_t> values) const {
  // A word makes two values; a part that begins at an odd element takes the upper half of its first word.
  const auto value = [](std::uint64_t half) {
    const std::uint64_t pairs = (half & 0x00ff00ffu) + ((half >> 8) & 0x00ff00ffu);
    const auto sum = static_cast<int>((pairs & 0xffffu) + (pairs >> 16));
    return static_cast<std::int8_t>(std::min((sum - 508) >> 2, 127));
  };
  const auto first = static_cast<std::uint64_t>(first_elem);
  std::size_t i = 0;
  if (first % 2 != 0 && !values.empty()) values[i++] = value(word(first / 2) >> 32);
  for (; i + 2 <= values.size(); i += 2) {
    const std::uint64_t bits = word((first + i) / 2);
    values[i] = value(bits & 0xffffffffu);
    values[i + 1] = value(bits >> 32);
  }
  if (i < values.size()) values[i] = value(word((first + i) / 2) & 0xffffffffu);
}

void RandomTensor::fill_normal(std::int64_t first_elem, float mean, float deviation, std::span<float> values) const {
  // The sum of four uniform 16-bit numbers has mean 2 * 65535 and variance (65536^2 - 1) / 3.
  constexpr float kSumMean = 131070.0f, kSumDeviation = 37837.22f;
  const float factor = deviation / kSumDeviation;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t bits = word(static_cast<std::uint64_t>(first_elem) + i);
    const std::uint64_t sum = (bits & 0xffffu) + ((bits >> 16) & 0xffffu) + ((bits >> 32) & 0xffffu) + (bits >> 48);
    values[i] = mean + (static_cast<float>(sum) - kSumMean) * factor;
  }
}

void RandomTensor::fill_uniform(std::int64_t first_elem, float low, float high, std::span<float> values) const {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t bits = word(static_cast<std::uint64_t>(first_elem) + i);
    const float unit = static_cast<float>(bits >> 40) * 0x1p-24f;
    values[i] = to_float(to_bf16(low + (high - low) * unit));
  }
}

}  // namespace moesaic::converters
