#pragma once

#include "base/ids.hpp"

/// The index spaces of a model.
namespace moesaic {

using ModelLayer = Id<struct ModelLayerTag>;  ///< decoder layer, counted over the whole model
using ExpertId = Id<struct ExpertTag>;        ///< expert of a layer

}  // namespace moesaic
