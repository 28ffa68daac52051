#include "config/weight_format.hpp"

#include "base/error.hpp"

namespace moesaic {

Numerics numerics_for(WeightFormat format, std::optional<Numerics> asked, const std::string& weights_are) {
  if (!asked) return default_numerics(format);
  if (format_of(*asked).value_or(format) == format) return *asked;
  std::string fitting;
  for (const Numerics numerics : kAllNumerics)
    if (format_of(numerics).value_or(format) == format)
      fitting += fmt::format("{}{}", fitting.empty() ? "" : ", ", name(numerics));
  fail("--numerics {}: {} {}; modes that fit: {}", name(*asked), weights_are, name(format), fitting);
}

}  // namespace moesaic
