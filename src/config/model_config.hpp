#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "config/arch_spec.hpp"

namespace moesaic {

/// The sizes of a model (the letters are those of docs/glossary.md), its special tokens, and what it computes.
struct ModelConfig {
  std::int64_t vocab_size = 0;            ///< V
  std::int64_t sequence_len = 0;          ///< longest context, tokens
  std::int64_t emb_size = 0;              ///< D
  std::int64_t num_layers = 0;            ///< L
  std::int64_t num_q_heads = 0;           ///< H
  std::int64_t num_kv_heads = 0;          ///< G
  std::int64_t key_size = 0;              ///< K
  std::int64_t ffn_size = 0;              ///< F, width of an expert
  std::int64_t num_experts = 0;           ///< E
  std::int64_t num_selected_experts = 0;  ///< A
  std::int32_t pad_token = 0;
  std::int32_t bos_token = 0;
  std::int32_t eos_token = 0;
  ArchSpec arch;

  std::int64_t q_per_kv() const { return num_q_heads / num_kv_heads; }
  std::int64_t attn_size() const { return num_q_heads * key_size; }  ///< H*K, input axis of the output projection
  std::int64_t kv_size() const { return num_kv_heads * key_size; }   ///< G*K

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

/// A contraction whose input axis may be split over ranks is defined as this many leaves (docs/numerics.md).
inline constexpr std::int64_t kNumLeaves = 8;

/// The feed-forward width xAI's code derives: int(widening * D) * 2 / 3, rounded up to a multiple of 8.
std::int64_t ffn_size(std::int64_t emb_size, double widening_factor);

/// Throws Error naming the first field whose value cannot work; `source` names where the configuration came from.
void check(const ModelConfig& config, const std::string& source);

/// Reads xAI's config.json; fields that it does not name keep Grok-1's values.
ModelConfig read_xai_config(const std::filesystem::path& file);

/// A configuration as the store keeps it, and back. It has the entry `architecture` where that is not Grok-1's
/// (config/arch_spec.hpp).
nlohmann::json to_json(const ModelConfig& config);
ModelConfig model_config_from_json(const nlohmann::json& json, const std::string& source);

}  // namespace moesaic
