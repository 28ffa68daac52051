#pragma once

#include "config/row_form.hpp"

namespace moesaic::measure {

/// x(width) = the values of a row of a form, read by the definition (docs/numerics.md) and not by a backend.
void row_values(const RowForm& form, const std::byte* row, float* x);

}  // namespace moesaic::measure
