#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "config/arch_spec.hpp"

namespace moesaic {

/// The fields that the forward pass (src/model) has no operation for with these values, as a list for messages:
/// "activation silu, qk_norm head"; empty when it has all.
std::string unsupported(const ArchSpec& arch);

/// A store's architecture: the fields in which it differs from Grok-1's, but for the numbers that the configuration
/// has always had by themselves (config/model_config.hpp); empty for Grok-1. And back: Error names `source` and what is
/// no field or no value of one.
nlohmann::json architecture_to_json(const ArchSpec& arch);
void read_architecture(const nlohmann::json& object, ArchSpec& arch, const std::string& source);

}  // namespace moesaic
