#include "model/rope.hpp"

#include <vector>

#include "base/math.hpp"
#include "base/parallel.hpp"

namespace moesaic {

RopeTable::RopeTable(const ModelConfig& config, backend::Backend& backend)
    : num_angles_(config.sequence_len * (config.key_size / 2)) {
  const std::int64_t half = config.key_size / 2;
  std::vector<float> table(static_cast<std::size_t>(2 * num_angles_));  // cosines, then sines
  std::vector<float> inverse(static_cast<std::size_t>(half));
  for (std::int64_t j = 0; j < half; ++j)
    inverse[static_cast<std::size_t>(j)] = math::rope_inverse_frequency(config.arch.rope_base, j, config.key_size);
  constexpr std::int64_t kGrain_positions = 64;
  parallel_for(config.sequence_len, kGrain_positions, [&](std::int64_t position) {
    for (std::int64_t j = 0; j < half; ++j) {
      const float angle = static_cast<float>(position) * inverse[static_cast<std::size_t>(j)];
      float* const cosine = table.data() + position * half + j;
      cosine[0] = static_cast<float>(math::cos_f64(static_cast<double>(angle)));
      cosine[num_angles_] = static_cast<float>(math::sin_f64(static_cast<double>(angle)));
    }
  });
  const auto bytes = std::as_bytes(std::span(table));
  table_ = backend::Buffer(backend, backend::Space::kDevice, bytes.size());
  backend.packer().store(table_.data(), bytes);
}

}  // namespace moesaic
