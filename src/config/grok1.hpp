#pragma once

#include <optional>
#include <string_view>

#include "config/model_config.hpp"

namespace moesaic {

/// Grok-1 as xAI's run.py and model.py have it.
inline constexpr ArchSpec kGrok1Arch{
    .block_norms = BlockNorms::kBeforeAndAfter,
    .activation = Activation::kGeluTanh,
    .gates = Gates::kSoftmax,
    .tied_head = true,
    .rms_norm_eps = 1e-5f,
    .rope_base = 10000.0,
    .embedding_multiplier = 78.38367176906169f,
    .attn_output_multiplier = 0.08838834764831845f,
    .attn_logit_cap = 30.0f,
    .output_multiplier = 0.5773502691896257f,
};

inline constexpr ModelConfig kGrok1{
    .vocab_size = 131072,
    .sequence_len = 8192,
    .emb_size = 6144,
    .num_layers = 64,
    .num_q_heads = 48,
    .num_kv_heads = 8,
    .key_size = 128,
    .ffn_size = 32768,
    .num_experts = 8,
    .num_selected_experts = 2,
    .pad_token = 0,
    .bos_token = 1,
    .eos_token = 2,
    .arch = kGrok1Arch,
};

/// The reference workloads of docs/performance.md, Grok-1 with other sizes: "tiny", "mini" (1.2 GB), "slice" (two
/// layers of Grok-1's own dimensions, about 10 GB); nullopt for another name.
std::optional<ModelConfig> preset(std::string_view name);

}  // namespace moesaic
