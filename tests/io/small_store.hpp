#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "config/grok1.hpp"
#include "io/store_writer.hpp"

namespace moesaic::test {

/// The smallest model with every kind of piece: two kv heads, a short last piece of the embedding, two layers.
inline ModelConfig small_config() {
  ModelConfig c = kGrok1;
  c.vocab_size = 70, c.sequence_len = 32, c.emb_size = 8, c.num_layers = 2, c.num_q_heads = 2, c.num_kv_heads = 2;
  c.key_size = 8, c.ffn_size = 16, c.num_experts = 2, c.num_selected_experts = 1;
  return c;
}

/// Byte i of a tensor of a small store.
inline std::byte small_byte(std::size_t tensor_idx, std::size_t i) {
  return static_cast<std::byte>((tensor_idx * 131 + i * 7 + i / 256) % 251);
}

inline std::vector<std::byte> small_tensor(std::size_t tensor_idx, std::int64_t size_bytes) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(size_bytes));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = small_byte(tensor_idx, i);
  return bytes;
}

inline void write_small_store(const std::string& path, const std::string& tokenizer_model = "not a real tokenizer",
                              WeightFormat format = WeightFormat::kInt8) {
  io::NewStore store{small_config(), {8, 1}, format};
  store.provenance = R"({"source_format": "test"})";
  store.tokenizer_model = tokenizer_model;
  store.tokenizer_pieces = 3;
  io::StoreDraft draft(path, store, false);
  io::PieceWriter writer(draft.temporary_path(), draft.index());
  for (std::size_t t = 0; t < draft.index().tensors().size(); ++t)
    writer.write(t, 0, small_tensor(t, draft.index().tensors()[t].spec.size_bytes()));
  draft.record(writer.finish());
  draft.publish();
}

}  // namespace moesaic::test
