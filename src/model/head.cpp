#include "model/head.hpp"

#include <algorithm>
#include <cstring>

#include "base/parallel.hpp"
#include "base/trace.hpp"

namespace moesaic {
namespace {

constexpr std::size_t kBlock_rows = 64;
constexpr int kLogitsTag = 2;
constexpr std::size_t kMostUnderWay_bytes = std::size_t{32} << 20;

std::size_t num_blocks(Range vocabulary) {
  return (static_cast<std::size_t>(vocabulary.size()) + kLogProbBlock - 1) / kLogProbBlock;
}

/// Of one row in a message of sums.
std::size_t sums_bytes(Range vocabulary) { return num_blocks(vocabulary) * sizeof(BlockSum) + sizeof(float); }

}  // namespace

Head::Head(StageContext& context, Embedding& embedding, const float* final_norm)
    : context_(context),
      embedding_(embedding),
      final_norm_(final_norm),
      exchange_(context.stage_comm),
      outbox_(context.world) {}

template <class Visit>
void Head::for_each_block(const TokenBatch& batch, Visit&& visit) {
  const auto cut = [&](std::span<const std::int32_t> rows, std::span<const std::int32_t> tokens) {
    for (std::size_t begin = 0; begin < rows.size(); begin += kBlock_rows) {
      const std::size_t size = std::min(kBlock_rows, rows.size() - begin);
      visit(Wanted{rows.subspan(begin, size), tokens.empty() ? tokens : tokens.subspan(begin, size)});
    }
  };
  cut(batch.logit_rows, {});
  cut(batch.score_rows, batch.score_tokens);
}

void Head::project(const BatchRows& rows, const float* x, const HeadSink& sink) {
  const TraceZone zone(Zone::kHead);
  const bool root_is_here = context_.grid.num_stages() == 1 && context_.world.rank() == 0;
  const Range vocabulary = context_.grid.vocabulary(context_.me);
  for_each_block(rows.batch, [&](const Wanted& wanted) {
    gather_normed(rows, wanted.rows, x);
    part_.reserve(wanted.rows.size() * static_cast<std::size_t>(vocabulary.size()) * sizeof(float));
    embedding_.logits(gathered_.data(), std::ssize(wanted.rows), part_.as<float>());
    if (wanted.scores()) sum_up(wanted);
    const std::byte* part = wanted.scores() ? sums_.data() : part_.data();
    if (root_is_here) {
      assemble(rows.batch, wanted, part, sink);
    } else {
      outbox_.post({part, part + part_bytes(wanted, vocabulary)}, 0, kLogitsTag);
      outbox_.drain(kMostUnderWay_bytes);
    }
  });
}

void Head::collect(const TokenBatch& batch, const HeadSink& sink) {
  const TraceZone zone(Zone::kHead);
  for_each_block(batch, [&](const Wanted& wanted) { assemble(batch, wanted, nullptr, sink); });
}

/// Bytes that a rank with this part of the vocabulary has to give.
std::size_t Head::part_bytes(const Wanted& wanted, Range vocabulary) const {
  return wanted.rows.size() *
         (wanted.scores() ? sums_bytes(vocabulary) : static_cast<std::size_t>(vocabulary.size()) * sizeof(float));
}

/// part_ into sums_.
void Head::sum_up(const Wanted& wanted) {
  const Range vocabulary = context_.grid.vocabulary(context_.me);
  const auto width = static_cast<std::size_t>(vocabulary.size());
  sums_.reserve(part_bytes(wanted, vocabulary));
  parallel_for(std::ssize(wanted.rows), 1, [&](std::int64_t i) {
    const auto row = static_cast<std::size_t>(i);
    const std::span<const float> logits(part_.as<float>() + row * width, width);
    thread_local std::vector<BlockSum> sums;
    sums.clear();
    block_sums(logits, static_cast<std::int32_t>(vocabulary.begin), sums);
    const std::int64_t token = wanted.tokens[row];
    const float logit = vocabulary.contains(token) ? logits[static_cast<std::size_t>(token - vocabulary.begin)] : 0;
    std::byte* const to = sums_.data() + row * sums_bytes(vocabulary);
    if (!sums.empty()) std::memcpy(to, sums.data(), sums.size() * sizeof(BlockSum));
    std::memcpy(to + sums.size() * sizeof(BlockSum), &logit, sizeof logit);
  });
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
    context_.kernels.rms_norm(x + (row - rows.own.begin) * width, final_norm_, 1, width, config.arch.rms_norm_eps, n);
    if (context_.probe)
      context_.probe->see({static_cast<std::int32_t>(config.num_layers), Operation::kFinalNorm}, rows.batch,
                          {row, row + 1}, {n, row_floats});
  }
  context_.kernels.to_activation(normed_.as<float>(), num_own * width, rounded_.data());
  gathered_.reserve(wanted.size() * row_floats * context_.act_bytes());
  exchange_.all_gather(rounded_.data(), gathered_.data(), num_rows_, row_floats * context_.act_bytes());
}

void Head::assemble(const TokenBatch& batch, const Wanted& wanted, const std::byte* own_part, const HeadSink& sink) {
  const plan::Grid& grid = context_.grid;
  const auto vocab_size = static_cast<std::size_t>(context_.config().vocab_size);
  const std::size_t num_rows = wanted.rows.size();
  if (wanted.scores()) {
    blocks_.resize(num_rows * num_blocks({0, context_.config().vocab_size}));
    scores_.resize(num_rows);
  }
  const bool in_one_piece = grid.ranks_per_stage() == 1;  // then nothing is copied
  const float* logits = nullptr;
  for (int i = 0; i < grid.ranks_per_stage(); ++i) {
    const plan::StageRank rank{i};
    const Range vocabulary = grid.vocabulary(rank);
    const std::byte* part = own_part;
    const int source = index(grid.in_world(grid.num_stages() - 1, rank));
    if (source != context_.world.rank()) {
      received_.reserve(part_bytes(wanted, vocabulary));
      comm::receive(context_.world, {received_.data(), part_bytes(wanted, vocabulary)}, source, kLogitsTag);
      part = received_.data();
    }
    if (wanted.scores())
      place_scores(wanted, vocabulary, part);
    else
      logits = in_one_piece ? reinterpret_cast<const float*>(part) : place_logits(num_rows, vocabulary, part);
  }
  if (wanted.scores()) {
    const std::size_t num = blocks_.size() / num_rows;
    for (std::size_t row = 0; row < num_rows; ++row)
      scores_[row].row = combine(std::span(blocks_).subspan(row * num, num));
    return sink.scores(batch, wanted.rows, scores_);
  }
  if (context_.probe)
    for (std::size_t row = 0; row < num_rows; ++row)
      context_.probe->see({static_cast<std::int32_t>(context_.config().num_layers), Operation::kLogits}, batch,
                          {wanted.rows[row], wanted.rows[row] + 1}, {logits + row * vocab_size, vocab_size});
  sink.logits(batch, wanted.rows, logits);
}

/// Returns where all ranks' parts go: fp32 (rows, V).
const float* Head::place_logits(std::size_t num_rows, Range vocabulary, const std::byte* part) {
  const auto vocab_size = static_cast<std::size_t>(context_.config().vocab_size);
  logits_.reserve(num_rows * vocab_size * sizeof(float));
  const auto row_bytes = static_cast<std::size_t>(vocabulary.size()) * sizeof(float);
  for (std::size_t row = 0; row < num_rows; ++row)
    std::memcpy(logits_.as<float>() + row * vocab_size + static_cast<std::size_t>(vocabulary.begin),
                part + row * row_bytes, row_bytes);
  return logits_.as<float>();
}

void Head::place_scores(const Wanted& wanted, Range vocabulary, const std::byte* part) {
  const std::size_t num_in_part = num_blocks(vocabulary), num = blocks_.size() / wanted.rows.size();
  const auto first = static_cast<std::size_t>(vocabulary.begin) / kLogProbBlock;
  for (std::size_t row = 0; row < wanted.rows.size(); ++row) {
    const std::byte* from = part + row * sums_bytes(vocabulary);
    if (num_in_part > 0) std::memcpy(&blocks_[row * num + first], from, num_in_part * sizeof(BlockSum));
    if (vocabulary.contains(wanted.tokens[row]))
      std::memcpy(&scores_[row].logit, from + num_in_part * sizeof(BlockSum), sizeof(float));
  }
}

}  // namespace moesaic
