#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "config/model_config.hpp"

namespace moesaic {

/// The feed-forward width xAI's code derives: int(widening * D) * 2 / 3, rounded up to a multiple of 8.
std::int64_t ffn_size(std::int64_t emb_size, double widening_factor);

/// Throws Error naming the first field whose value cannot work; `source` names where the configuration came from.
void check(const ModelConfig& config, const std::string& source);

/// Reads xAI's config.json; fields that it does not name keep Grok-1's values.
ModelConfig read_xai_config(const std::filesystem::path& file);

/// A configuration as the store keeps it, and back. It has the entry `architecture` where that is not Grok-1's
/// (config/arch_fields.hpp).
nlohmann::json to_json(const ModelConfig& config);
ModelConfig model_config_from_json(const nlohmann::json& json, const std::string& source);

}  // namespace moesaic
