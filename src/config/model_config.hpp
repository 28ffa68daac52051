#pragma once

#include <cstdint>

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

}  // namespace moesaic
