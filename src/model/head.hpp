#pragma once

#include <functional>
#include <span>

#include "base/aligned_buffer.hpp"
#include "model/embedding.hpp"

namespace moesaic {

/// Takes finished logits on world rank 0: rows of the batch, ascending, and their logits, fp32 (rows, V).
using LogitSink = std::function<void(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits)>;

/// Final norm and vocabulary projection of the rows whose logits are wanted, gathered on world rank 0. Works in blocks
/// of rows, so that memory does not grow with the batch.
class Head {
 public:
  /// final_norm: (D); null outside the last stage.
  Head(StageContext& context, Embedding& embedding, const float* final_norm);

  /// Last stage: x fp32 (T own rows, D). Collective over the stage; with one stage, rank 0 hands the logits to `sink`.
  void project(const BatchRows& rows, const float* x, const LogitSink& sink);

  /// World rank 0 of several stages: takes what project() has sent there. Batches in their order.
  void collect(const TokenBatch& batch, const LogitSink& sink);

  /// Waits until what this rank has sent has left.
  void finish() { outbox_.drain(); }

 private:
  void gather_normed(const BatchRows& rows, std::span<const std::int32_t> wanted, const float* x);
  void assemble(const TokenBatch& batch, std::span<const std::int32_t> wanted, const float* own_part,
                const LogitSink& sink);

  StageContext& context_;
  Embedding& embedding_;
  const float* final_norm_;
  comm::RowExchange exchange_;
  comm::Outbox outbox_;
  std::vector<std::int32_t> num_rows_;  // wanted ones, by rank of the stage
  AlignedBuffer normed_;                // fp32 (own wanted rows, D)
  AlignedBuffer rounded_;               // Act (own wanted rows, D)
  AlignedBuffer gathered_;              // Act (wanted rows, D)
  AlignedBuffer part_;                  // fp32 (wanted rows, vocabulary of this rank)
  AlignedBuffer received_;              // fp32 (wanted rows, vocabulary of another rank), world rank 0 only
  AlignedBuffer logits_;                // fp32 (wanted rows, V), world rank 0 only
};

}  // namespace moesaic
