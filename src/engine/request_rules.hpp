#pragma once

#include <optional>
#include <string>

#include "config/model_config.hpp"
#include "engine/request.hpp"

namespace moesaic {

/// Why a model can never answer a request, whatever the engine's memory: the rule that it breaks, in words; nothing: it
/// can.
std::optional<std::string> broken_rule(const GenerationRequest& request, const ModelConfig& config);

}  // namespace moesaic
