#include "model/embedding.hpp"

#include <cstring>

#include "base/trace.hpp"

namespace moesaic {
namespace {

/// One column of a packed one-leaf matrix of Elem: (D).
template <class Elem>
void unpack_column(const ops::PackedMatrix& table, std::int64_t column, std::byte* out) {
  const auto* panels = reinterpret_cast<const Elem*>(table.data);
  for (std::int64_t input = 0; input < table.shape.leaf_size; ++input)
    std::memcpy(out + static_cast<std::size_t>(input) * sizeof(Elem), panels + table.shape.element(0, input, column),
                sizeof(Elem));
}

}  // namespace

Embedding::Embedding(StageContext& context, const ops::PackedMatrix& table)
    : context_(context), table_(table), exchange_(context.stage_comm) {}

void Embedding::embed(const BatchRows& rows, float* x) {
  const TraceZone zone(Zone::kEmbed);
  const plan::Grid& grid = context_.grid;
  const auto num_ranks = static_cast<std::size_t>(grid.ranks_per_stage());
  const std::size_t row_bytes = static_cast<std::size_t>(context_.config().emb_size) * context_.act_bytes();
  const auto token = [&](std::int64_t row) { return rows.batch.tokens[static_cast<std::size_t>(row)]; };

  // Holders send the rows that they have, by owner and ascending; owners know from the tokens what comes from whom.
  const Range vocabulary = grid.vocabulary(context_.me);
  num_send_.assign(num_ranks, 0);
  num_recv_.assign(num_ranks, 0);
  std::int64_t most_sent = 0;
  for (int owner = 0; owner < grid.ranks_per_stage(); ++owner)
    most_sent += rows.map.rows(plan::StageRank{owner}).size();
  send_.reserve(static_cast<std::size_t>(most_sent) * row_bytes);
  std::size_t sent = 0;
  for (int owner = 0; owner < grid.ranks_per_stage(); ++owner) {
    const Range owned = rows.map.rows(plan::StageRank{owner});
    for (std::int64_t row = owned.begin; row < owned.end; ++row) {
      if (!vocabulary.contains(token(row))) continue;
      std::byte* out = send_.data() + sent++ * row_bytes;
      const std::int64_t column = token(row) - vocabulary.begin;
      if (context_.act_bytes() == sizeof(float))
        unpack_column<float>(table_, column, out);
      else
        unpack_column<Bf16>(table_, column, out);
      ++num_send_[static_cast<std::size_t>(owner)];
    }
  }
  arrival_.clear();
  for (int holder = 0; holder < grid.ranks_per_stage(); ++holder) {
    const Range held = grid.vocabulary(plan::StageRank{holder});
    for (std::int64_t row = rows.own.begin; row < rows.own.end; ++row)
      if (held.contains(token(row))) {
        arrival_.push_back(row - rows.own.begin);
        ++num_recv_[static_cast<std::size_t>(holder)];
      }
  }
  recv_.reserve(arrival_.size() * row_bytes);
  exchange_.all_to_all(send_.data(), num_send_, recv_.data(), num_recv_, row_bytes);
  const std::int64_t width = context_.config().emb_size;
  for (std::size_t i = 0; i < arrival_.size(); ++i)
    context_.kernels.from_activation(recv_.data() + i * row_bytes, width, context_.config().arch.embedding_multiplier,
                                     x + arrival_[i] * width);
}

void Embedding::logits(const std::byte* n, std::int64_t num_rows, float* logits) const {
  const std::int64_t columns = table_.shape.num_columns;
  if (columns == 0) return;
  context_.kernels.gemm(n, num_rows, table_, logits, columns);
  context_.kernels.scale(context_.config().arch.output_multiplier, num_rows * columns, logits);
}

}  // namespace moesaic
