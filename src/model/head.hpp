#pragma once

#include <functional>
#include <span>

#include "model/embedding.hpp"
#include "model/log_probs.hpp"

namespace moesaic {

/// What a row's logits say about one token.
struct RowScore {
  float logit = 0;  ///< of the token
  RowSum row;
};

/// Takes what comes out of the head on world rank 0: rows of the batch, ascending, and of each
struct HeadSink {
  std::function<void(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits)>
      logits;  ///< its logits, fp32 (rows, V)
  std::function<void(const TokenBatch& batch, std::span<const std::int32_t> rows, std::span<const RowScore> scores)>
      scores;
};

/// Final norm and vocabulary projection of the rows whose logits are wanted, gathered on world rank 0. Works in blocks
/// of rows, so that memory does not grow with the batch. Of rows that are scored no logits travel, only sums over
/// blocks of the vocabulary.
class Head {
 public:
  /// final_norm: (D); null outside the last stage.
  Head(StageContext& context, Embedding& embedding, backend::Ptr<const float> final_norm);

  /// Last stage: x fp32 (T own rows, D). Collective over the stage; with one stage, rank 0 hands the result to `sink`.
  void project(const BatchRows& rows, backend::Ptr<const float> x, const HeadSink& sink);

  /// World rank 0 of several stages: takes what project() has sent there. Batches in their order.
  void collect(const TokenBatch& batch, const HeadSink& sink);

  /// Waits until what this rank has sent has left.
  void finish() { outbox_.drain(); }

 private:
  /// Rows of one kind, with the tokens that they are scored for; logits: empty.
  struct Wanted {
    std::span<const std::int32_t> rows, tokens;
    bool scores() const { return !tokens.empty(); }
  };
  template <class Visit>
  static void for_each_block(const TokenBatch& batch, Visit&& visit);

  void gather_normed(const BatchRows& rows, std::span<const std::int32_t> wanted, backend::Ptr<const float> x);
  void show_normed(const TokenBatch& batch, std::span<const std::int32_t> own_rows) const;
  backend::Buffer sum_up(const Wanted& wanted) const;
  std::size_t part_bytes(const Wanted& wanted, Range vocabulary) const;
  void assemble(const TokenBatch& batch, const Wanted& wanted, const std::byte* own_part, const HeadSink& sink);
  const float* place_logits(std::size_t num_rows, Range vocabulary, const std::byte* part);
  void place_scores(const Wanted& wanted, Range vocabulary, const std::byte* part);

  StageContext& context_;
  Embedding& embedding_;
  backend::Ptr<const float> final_norm_;
  comm::RowExchange exchange_;
  comm::Outbox outbox_;
  std::vector<std::int32_t> num_rows_;  // wanted ones, by rank of the stage
  std::vector<std::int32_t> places_;    // own wanted rows, counted among own rows
  backend::Buffer own_;                 // fp32 (own wanted rows, D)
  backend::Buffer normed_;              // fp32 (own wanted rows, D)
  backend::Buffer rounded_;             // Act (own wanted rows, D)
  backend::Buffer gathered_;            // Act (wanted rows, D)
  backend::Buffer logits_here_;         // fp32 (wanted rows, vocabulary of this rank)
  std::vector<std::byte> received_;     // logits or sums of another rank, world rank 0 only
  std::vector<float> logits_;           // (wanted rows, V), world rank 0 only
  std::vector<BlockSum> blocks_;        // (wanted rows, blocks of V), world rank 0 only
  std::vector<RowScore> scores_;        // (wanted rows), world rank 0 only
};

}  // namespace moesaic
