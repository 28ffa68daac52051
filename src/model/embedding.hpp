#pragma once

#include "model/stage_context.hpp"

namespace moesaic {

/// The table that is both embedding (first stage) and head (last stage), shared out by vocabulary over a stage's ranks.
class Embedding {
 public:
  /// table: Act (D, vocabulary of this rank).
  Embedding(StageContext& context, const backend::Matrix& table);

  /// x: fp32 (T own rows, D) = Act(table row of each token) * embedding multiplier. Collective over the first stage.
  void embed(const BatchRows& rows, backend::Ptr<float> x);

  /// Logits of rows of the batch: columns of this rank's vocabulary, fp32 (rows, vocabulary of this rank).
  /// n: Act (rows, D).
  void logits(backend::ConstBytes n, std::int64_t num_rows, backend::Ptr<float> logits) const;

 private:
  void plan_exchange(const BatchRows& rows);

  StageContext& context_;
  const backend::Matrix& table_;
  comm::RowExchange exchange_;
  backend::Buffer send_, recv_;                    // Act (rows, D)
  std::vector<std::int32_t> columns_;              // of the table, that this rank sends, by owner of the row
  std::vector<std::int32_t> num_send_, num_recv_;  // rows, by rank of the stage
  std::vector<std::int32_t> arrival_;              // own rows in the order in which they arrive
};

}  // namespace moesaic
