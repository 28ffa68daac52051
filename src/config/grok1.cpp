#include "config/grok1.hpp"

#include <cmath>

namespace moesaic {

std::optional<ModelConfig> preset(std::string_view name) {
  ModelConfig c = kGrok1;
  if (name == "tiny") {
    c.vocab_size = 512, c.sequence_len = 128, c.emb_size = 64, c.num_layers = 12, c.num_q_heads = 8, c.num_kv_heads = 8;
    c.key_size = 16, c.ffn_size = 128;
  } else if (name == "mini") {
    c.vocab_size = 32768, c.sequence_len = 16384, c.emb_size = 1536, c.num_layers = 8, c.num_q_heads = 12;
    c.num_kv_heads = 4, c.key_size = 128, c.ffn_size = 4096;
  } else if (name == "slice") {
    c.vocab_size = 32768, c.sequence_len = 16384, c.num_layers = 2;
  } else {
    return std::nullopt;
  }
  c.arch.embedding_multiplier = static_cast<float>(std::sqrt(static_cast<double>(c.emb_size)));
  c.arch.attn_output_multiplier = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.key_size)));
  return c;
}

}  // namespace moesaic
