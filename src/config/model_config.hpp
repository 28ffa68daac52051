#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace moesaic {

/// The geometry and constants of a Grok-1-like model (the letters are those of docs/glossary.md). The defaults are
/// Grok-1's own, from xAI's run.py.
struct ModelConfig {
  std::int64_t vocab_size = 131072;       ///< V
  std::int64_t sequence_len = 8192;       ///< longest context, tokens
  std::int64_t emb_size = 6144;           ///< D
  std::int64_t num_layers = 64;           ///< L
  std::int64_t num_q_heads = 48;          ///< H
  std::int64_t num_kv_heads = 8;          ///< G
  std::int64_t key_size = 128;            ///< K
  std::int64_t ffn_size = 32768;          ///< F
  std::int64_t num_experts = 8;           ///< E
  std::int64_t num_selected_experts = 2;  ///< A
  std::int32_t pad_token = 0;
  std::int32_t bos_token = 1;
  std::int32_t eos_token = 2;
  float embedding_multiplier = 78.38367176906169f;
  float output_multiplier = 0.5773502691896257f;
  float attn_output_multiplier = 0.08838834764831845f;
  float attn_logit_cap = 30.0f;  ///< score = cap * tanh(score / cap)
  float rms_norm_eps = 1e-5f;
  double rope_base = 10000.0;

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

/// Our own form, as the store keeps it.
nlohmann::json to_json(const ModelConfig& config);
ModelConfig model_config_from_json(const nlohmann::json& json, const std::string& source);

}  // namespace moesaic
