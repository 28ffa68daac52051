#include "model/rope.hpp"

#include "base/parallel.hpp"
#include "ops/math.hpp"

namespace moesaic {

RopeTable::RopeTable(const ModelConfig& config) {
  const std::int64_t half = config.key_size / 2, num_positions = config.sequence_len;
  cosines.resize(static_cast<std::size_t>(num_positions * half));
  sines.resize(cosines.size());
  std::vector<float> inverse(static_cast<std::size_t>(half));
  for (std::int64_t j = 0; j < half; ++j)
    inverse[static_cast<std::size_t>(j)] = ops::rope_inverse_frequency(config.arch.rope_base, j, config.key_size);
  constexpr std::int64_t kGrain_positions = 64;
  parallel_for(num_positions, kGrain_positions, [&](std::int64_t position) {
    for (std::int64_t j = 0; j < half; ++j) {
      const float angle = static_cast<float>(position) * inverse[static_cast<std::size_t>(j)];
      const auto at = static_cast<std::size_t>(position * half + j);
      cosines[at] = static_cast<float>(ops::cos_f64(static_cast<double>(angle)));
      sines[at] = static_cast<float>(ops::sin_f64(static_cast<double>(angle)));
    }
  });
}

}  // namespace moesaic
