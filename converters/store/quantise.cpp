#include "store/quantise.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "config/weight_format.hpp"

namespace moesaic::converters {
namespace {

constexpr int kLanes = 8;                                ///< columns side by side
constexpr int kFirstScale = 22, kLastScale = 35;         ///< tried: largest weight * -k / 256; 32 gives it q = -8
constexpr float kLeast = 0x1p-100f, kRound = 0x1.8p23f;  ///< adding kRound and taking it off rounds to an integer

/// A group of inputs of some columns; missing ones are zeros.
struct Group {
  float w[kInt4GroupInputs][kLanes];
  int inputs = 0;
};
struct Lanes {
  float at[kLanes];
};

/// q of a weight w with the scale s = 1 / inverse.
inline float quantised(float w, float inverse) {
  const float q = (w * inverse + kRound) - kRound;
  const float at_least = q < -8.0f ? -8.0f : q;
  return at_least > 7.0f ? 7.0f : at_least;
}

/// The first weight of the largest magnitude.
Lanes extremes(const Group& group) {
  Lanes extreme{};
  for (int i = 0; i < group.inputs; ++i)
    for (int c = 0; c < kLanes; ++c)
      extreme.at[c] = std::fabs(group.w[i][c]) > std::fabs(extreme.at[c]) ? group.w[i][c] : extreme.at[c];
  return extreme;
}

Lanes squared_error(const Group& group, const Lanes& scale, const Lanes& inverse) {
  Lanes error{};
  for (int i = 0; i < group.inputs; ++i)
    for (int c = 0; c < kLanes; ++c) {
      const float difference = group.w[i][c] - quantised(group.w[i][c], inverse.at[c]) * scale.at[c];
      error.at[c] = error.at[c] + difference * difference;
    }
  return error;
}

/// The scale tried that has the least error; 0 for weights that are all next to nothing.
Lanes best_scales(const Group& group) {
  const Lanes extreme = extremes(group);
  Lanes best{}, least{};
  for (int k = kFirstScale; k <= kLastScale; ++k) {
    Lanes scale{}, inverse{};
    for (int c = 0; c < kLanes; ++c) {
      if (!(std::fabs(extreme.at[c]) >= kLeast)) continue;
      scale.at[c] = to_float(moesaic::to_bf16(extreme.at[c] * (static_cast<float>(-k) / 256.0f)));
      inverse.at[c] = 1.0f / scale.at[c];
    }
    const Lanes error = squared_error(group, scale, inverse);
    for (int c = 0; c < kLanes; ++c)
      if (k == kFirstScale || error.at[c] < least.at[c]) least.at[c] = error.at[c], best.at[c] = scale.at[c];
  }
  return best;
}

}  // namespace

void to_bf16(const Int8Piece& piece, std::span<Bf16> into) {
  const auto columns = static_cast<std::size_t>(piece.columns());
  for (std::size_t row = 0; row < piece.weights.size(); row += columns)
    for (std::size_t c = 0; c < columns; ++c)
      into[row + c] = moesaic::to_bf16(static_cast<float>(piece.weights[row + c]) * piece.scales[c]);
}

void to_int4(const Int8Piece& piece, std::span<std::uint8_t> weights, std::span<Bf16> scales) {
  const std::int64_t inputs = piece.inputs(), columns = piece.columns();
  for (const float scale : piece.scales)
    if (!std::isfinite(scale * 128.0f)) fail("a scale of {} makes weights that are not finite", scale);
  Group group{};
  for (std::int64_t g = 0; g < int4_groups(inputs); ++g)
    for (std::int64_t first = 0; first < columns; first += kLanes) {
      const std::int64_t first_input = g * kInt4GroupInputs;
      const int lanes = static_cast<int>(std::min<std::int64_t>(kLanes, columns - first));
      group.inputs = static_cast<int>(std::min(kInt4GroupInputs, inputs - first_input));
      for (int i = 0; i < group.inputs; ++i)
        for (int c = 0; c < lanes; ++c)
          group.w[i][c] =
              static_cast<float>(piece.weights[static_cast<std::size_t>((first_input + i) * columns + first + c)]) *
              piece.scales[static_cast<std::size_t>(first + c)];
      const Lanes scale = best_scales(group);
      for (int c = 0; c < lanes; ++c) {
        scales[static_cast<std::size_t>(g * columns + first + c)] = moesaic::to_bf16(scale.at[c]);
        const float inverse = scale.at[c] == 0.0f ? 0.0f : 1.0f / scale.at[c];
        for (int i = 0; i < group.inputs; i += 2) {
          const int even = static_cast<int>(quantised(group.w[i][c], inverse)),
                    odd = i + 1 < group.inputs ? static_cast<int>(quantised(group.w[i + 1][c], inverse)) : 0;
          weights[static_cast<std::size_t>((first_input + i) / 2 * columns + first + c)] =
              static_cast<std::uint8_t>((even & 15) | (odd & 15) << 4);
        }
      }
    }
}

}  // namespace moesaic::converters
