#include "model/embedding.hpp"

#include "base/trace.hpp"

namespace moesaic {

Embedding::Embedding(StageContext& context, const backend::Matrix& table)
    : context_(context),
      table_(table),
      exchange_(context.stage_comm, context.backend, context.queue),
      send_(context.device_buffer()),
      recv_(context.device_buffer()) {}

void Embedding::embed(const BatchRows& rows, backend::Ptr<float> x) {
  const TraceZone zone(Zone::kEmbed);
  const std::int64_t width = context_.config().emb_size;
  const std::size_t row_bytes = context_.act_row_bytes();
  const backend::Kernels& k = context_.kernels();
  backend::Queue& queue = context_.queue;
  plan_exchange(rows);
  send_.reserve(columns_.size() * row_bytes);
  recv_.reserve(arrival_.size() * row_bytes);
  k.gather_columns(queue, table_, queue.argument(std::span(columns_)), std::ssize(columns_), send_.data());
  exchange_.all_to_all(send_.slice(), num_send_, recv_.slice(), num_recv_, row_bytes);
  k.scatter_activations(queue, recv_.data(), queue.argument(std::span(arrival_)), std::ssize(arrival_), width,
                        context_.config().arch.embedding_multiplier, x);
}

/// Holders send the rows that they have, by owner and ascending; owners know from the tokens what comes from whom.
void Embedding::plan_exchange(const BatchRows& rows) {
  const plan::Grid& grid = context_.grid;
  const auto num_ranks = static_cast<std::size_t>(grid.ranks_per_stage());
  const auto token = [&](std::int64_t row) { return rows.batch.tokens[static_cast<std::size_t>(row)]; };
  const Range vocabulary = grid.vocabulary(context_.me);
  num_send_.assign(num_ranks, 0);
  num_recv_.assign(num_ranks, 0);
  columns_.clear();
  arrival_.clear();
  for (const plan::StageRank rank : grid.ranks()) {
    const Range owned = rows.map.rows(rank), held = grid.vocabulary(rank);
    for (std::int64_t row = owned.begin; row < owned.end; ++row)
      if (vocabulary.contains(token(row))) {
        columns_.push_back(static_cast<std::int32_t>(token(row) - vocabulary.begin));
        ++num_send_[rank.index()];
      }
    for (std::int64_t row = rows.own.begin; row < rows.own.end; ++row)
      if (held.contains(token(row))) {
        arrival_.push_back(static_cast<std::int32_t>(row - rows.own.begin));
        ++num_recv_[rank.index()];
      }
  }
}

void Embedding::logits(backend::ConstBytes n, std::int64_t num_rows, backend::Ptr<float> logits) const {
  const std::int64_t columns = table_.shape.num_columns;
  if (columns == 0) return;
  context_.kernels().gemm(context_.queue, n, num_rows, table_, logits, columns);
  context_.kernels().scale(context_.queue, context_.config().arch.output_multiplier, num_rows * columns, logits);
}

}  // namespace moesaic
