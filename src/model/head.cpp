#include "model/head.hpp"

#include <algorithm>
#include <cstring>

#include "base/trace.hpp"

namespace moesaic {
namespace {

constexpr std::size_t kBlock_rows = 64;
constexpr int kLogitsTag = 2;
constexpr std::size_t kMostUnderWay_bytes = std::size_t{32} << 20;

template <class Visit>
void for_each_block(std::span<const std::int32_t> rows, Visit&& visit) {
  for (std::size_t begin = 0; begin < rows.size(); begin += kBlock_rows)
    visit(rows.subspan(begin, std::min(kBlock_rows, rows.size() - begin)));
}

}  // namespace

Head::Head(StageContext& context, Embedding& embedding, const float* final_norm)
    : context_(context),
      embedding_(embedding),
      final_norm_(final_norm),
      exchange_(context.stage_comm),
      outbox_(context.world) {}

void Head::project(const BatchRows& rows, const float* x, const LogitSink& sink) {
  const TraceZone zone(Zone::kHead);
  const bool root_is_here = context_.grid.num_stages() == 1;
  for_each_block(rows.batch.logit_rows, [&](std::span<const std::int32_t> wanted) {
    gather_normed(rows, wanted, x);
    const auto num_rows = static_cast<std::int64_t>(wanted.size());
    const std::size_t part_bytes =
        wanted.size() * static_cast<std::size_t>(context_.grid.vocabulary(context_.me).size()) * sizeof(float);
    part_.reserve(part_bytes);
    embedding_.logits(gathered_.data(), num_rows, part_.as<float>());
    if (root_is_here && context_.world.rank() == 0) {
      assemble(rows.batch, wanted, part_.as<float>(), sink);
    } else {
      outbox_.post({part_.data(), part_.data() + part_bytes}, 0, kLogitsTag);
      outbox_.drain(kMostUnderWay_bytes);
    }
  });
}

void Head::collect(const TokenBatch& batch, const LogitSink& sink) {
  const TraceZone zone(Zone::kHead);
  for_each_block(batch.logit_rows,
                 [&](std::span<const std::int32_t> wanted) { assemble(batch, wanted, nullptr, sink); });
}

/// Normalises and rounds the wanted rows that this rank owns and gathers those of all ranks, ascending.
void Head::gather_normed(const BatchRows& rows, std::span<const std::int32_t> wanted, const float* x) {
  const ModelConfig& config = context_.config();
  const std::int64_t width = config.emb_size;
  const auto row_floats = static_cast<std::size_t>(width);
  const auto first_at_least = [&](std::int64_t row) { return std::lower_bound(wanted.begin(), wanted.end(), row); };

  num_rows_.clear();
  for (int rank = 0; rank < context_.grid.ranks_per_stage(); ++rank) {
    const Range owned = rows.map.share(plan::StageRank{rank});
    num_rows_.push_back(static_cast<std::int32_t>(first_at_least(owned.end) - first_at_least(owned.begin)));
  }
  const auto own_begin = first_at_least(rows.map.share(context_.me).begin);
  const std::int64_t num_own = num_rows_[static_cast<std::size_t>(index(context_.me))];
  const auto own_elems = static_cast<std::size_t>(num_own * width);
  normed_.reserve(own_elems * sizeof(float));
  rounded_.reserve(own_elems * context_.act_bytes());
  for (std::int64_t i = 0; i < num_own; ++i) {
    const std::int32_t row = own_begin[i];
    float* const n = normed_.as<float>() + i * width;
    context_.kernels.rms_norm(x + (row - rows.own.begin) * width, final_norm_, 1, width, config.rms_norm_eps, n);
    if (context_.probe)
      context_.probe->see({static_cast<std::int32_t>(config.num_layers), Operation::kFinalNorm}, rows.batch,
                          {row, row + 1}, {n, row_floats});
  }
  context_.kernels.to_activation(normed_.as<float>(), num_own * width, rounded_.data());
  gathered_.reserve(wanted.size() * row_floats * context_.act_bytes());
  exchange_.all_gather(rounded_.data(), gathered_.data(), num_rows_, row_floats * context_.act_bytes());
}

void Head::assemble(const TokenBatch& batch, std::span<const std::int32_t> wanted, const float* own_part,
                    const LogitSink& sink) {
  const plan::Grid& grid = context_.grid;
  const auto vocab_size = static_cast<std::size_t>(context_.config().vocab_size);
  logits_.reserve(wanted.size() * vocab_size * sizeof(float));
  for (int i = 0; i < grid.ranks_per_stage(); ++i) {
    const plan::StageRank rank{i};
    const Range columns = grid.vocabulary(rank);
    const auto num_columns = static_cast<std::size_t>(columns.size());
    const float* part = own_part;
    const int source = index(grid.in_world(grid.num_stages() - 1, rank));
    if (source != context_.world.rank()) {
      const std::size_t part_bytes = wanted.size() * num_columns * sizeof(float);
      received_.reserve(part_bytes);
      comm::receive(context_.world, {received_.data(), part_bytes}, source, kLogitsTag);
      part = received_.as<float>();
    }
    for (std::size_t row = 0; row < wanted.size(); ++row)
      std::memcpy(logits_.as<float>() + row * vocab_size + static_cast<std::size_t>(columns.begin),
                  part + row * num_columns, num_columns * sizeof(float));
  }
  if (context_.probe)
    for (std::size_t row = 0; row < wanted.size(); ++row)
      context_.probe->see({static_cast<std::int32_t>(context_.config().num_layers), Operation::kLogits}, batch,
                          {wanted[row], wanted[row] + 1}, {logits_.as<float>() + row * vocab_size, vocab_size});
  sink(batch, wanted, logits_.as<float>());
}

}  // namespace moesaic
