#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace moesaic::converters {

/// Random numbers of one tensor, a pure function of (seed, name, index): any thread may draw any part. Integers and
/// exact float arithmetic only, so every machine draws the same.
class RandomTensor {
 public:
  RandomTensor(std::uint64_t seed, std::string_view name);

  /// Nearly normal int8 (the sum of four uniform bytes, over 4) of standard deviation kInt8Deviation, in -127 .. 127.
  void fill_int8(std::int64_t first_elem, std::span<std::int8_t> values) const;
  static constexpr double kInt8Deviation = 36.95;

  /// mean + deviation * (nearly normal of variance 1).
  void fill_normal(std::int64_t first_elem, float mean, float deviation, std::span<float> values) const;

  /// low + (high - low) * uniform, rounded to bf16.
  void fill_uniform(std::int64_t first_elem, float low, float high, std::span<float> values) const;

 private:
  std::uint64_t word(std::uint64_t counter) const;
  std::uint64_t key_;
};

}  // namespace moesaic::converters
