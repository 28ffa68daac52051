#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace moesaic {

/// How the outputs of a layer's two blocks (attention, experts) are normalised.
enum class BlockNorms : std::uint8_t {
  kBefore,          ///< x + block(norm(x))
  kBeforeAndAfter,  ///< x + norm(block(norm(x)))
};

/// RMS norm of the queries and keys, after their projections and before the rotary embedding.
enum class QkNorm : std::uint8_t {
  kNone,
  kHead,   ///< each head by itself, with K weights that all heads share
  kWidth,  ///< all heads together, with H*K and G*K weights
};

/// The factor on an expert's up projection: activation(n . gate) * (n . up).
enum class Activation : std::uint8_t { kGeluTanh, kGeluErf, kSilu };

/// How the gates of a row's A experts follow from the router's E logits.
enum class Gates : std::uint8_t {
  kSoftmax,        ///< softmax over all E; the A largest as they are
  kRenormalised,   ///< softmax over all E; the A largest, divided by their sum
  kChosenSoftmax,  ///< softmax over the A largest logits alone
};

/// What a choice is called in files and messages, by its value.
template <class Choice>
inline constexpr std::array<std::string_view, 0> kChoiceNames{};
template <>
inline constexpr std::array<std::string_view, 2> kChoiceNames<BlockNorms>{"before", "before_and_after"};
template <>
inline constexpr std::array<std::string_view, 3> kChoiceNames<QkNorm>{"none", "head", "width"};
template <>
inline constexpr std::array<std::string_view, 3> kChoiceNames<Activation>{"gelu_tanh", "gelu_erf", "silu"};
template <>
inline constexpr std::array<std::string_view, 3> kChoiceNames<Gates>{"softmax", "renormalised", "chosen_softmax"};

/// What a decoder-only mixture-of-experts model computes, beside its sizes: a family of models is a value of this type.
/// The value of a plain model stands at each field; where a multiplier is 1 or a cap is 0, there is no such operation.
struct ArchSpec {
  BlockNorms block_norms = BlockNorms::kBefore;
  QkNorm qk_norm = QkNorm::kNone;
  Activation activation = Activation::kSilu;
  Gates gates = Gates::kSoftmax;
  bool tied_head = false;                 ///< the head is the embedding table
  std::int64_t dense_ffn_size = 0;        ///< width of a dense MLP beside the experts: (mlp + moe) / sqrt(2); 0: none
  float rms_norm_eps = 1e-5f;             ///< x / sqrt(mean(x^2) + eps) * weight
  double rope_base = 10000;               ///< pair j of a head turns by position / base^(2j/K); pairs are (j, j + K/2)
  float embedding_multiplier = 1;         ///< x = embed[token] * multiplier
  float attn_output_multiplier = 1;       ///< score = q.k * multiplier
  float attn_logit_cap = 0;               ///< score = cap * tanh(score / cap)
  std::int64_t attn_temperature_len = 0;  ///< positions p beyond it: score * log2(p) / log2(len); 0: none
  float router_logit_cap = 0;             ///< router's logit = cap * tanh(logit / cap)
  float residual_multiplier = 1;          ///< x + multiplier * block's output
  float output_multiplier = 1;            ///< logits * multiplier, before their cap
  float final_logit_cap = 0;              ///< logits = cap * tanh(logits / cap)

  friend bool operator==(const ArchSpec&, const ArchSpec&) = default;
};

}  // namespace moesaic
