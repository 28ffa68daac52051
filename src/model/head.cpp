#include "model/head.hpp"

#include <algorithm>
#include <cstring>

#include "base/trace.hpp"

namespace moesaic {
namespace {

constexpr std::size_t kBlock_rows = 64;
constexpr int kLogitsTag = 2;
constexpr std::size_t kMostUnderWay_bytes = std::size_t{32} << 20;

/// The sums of one row over a part of the vocabulary.
backend::RowSums sums_of(Range vocabulary) { return backend::RowSums::of(vocabulary.size()); }
std::size_t num_blocks(Range vocabulary) { return static_cast<std::size_t>(sums_of(vocabulary).num_blocks); }

}  // namespace

Head::Head(StageContext& context, Embedding& embedding, backend::Ptr<const float> final_norm)
    : context_(context),
      embedding_(embedding),
      final_norm_(final_norm),
      exchange_(context.stage_comm, context.backend, context.queue),
      outbox_(context.world),
      own_(context.device_buffer()),
      normed_(context.device_buffer()),
      rounded_(context.device_buffer()),
      gathered_(context.device_buffer()),
      logits_here_(context.pinned_buffer()) {}

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

void Head::project(const BatchRows& rows, backend::Ptr<const float> x, const HeadSink& sink) {
  const TraceZone zone(Zone::kHead);
  const bool root_is_here = context_.grid.num_stages() == 1 && context_.world.rank() == 0;
  const Range vocabulary = context_.grid.vocabulary(context_.me);
  for_each_block(rows.batch, [&](const Wanted& wanted) {
    gather_normed(rows, wanted.rows, x);
    logits_here_.reserve(wanted.rows.size() * bytes_of<float>(vocabulary.size()));
    embedding_.logits(gathered_.data(), std::ssize(wanted.rows), logits_here_.as<float>());
    const std::size_t size_bytes = part_bytes(wanted, vocabulary);
    if (root_is_here && !wanted.scores()) {
      context_.queue.wait();
      return assemble(rows.batch, wanted, logits_here_.host(), sink);
    }
    backend::Buffer part = wanted.scores() ? sum_up(wanted) : context_.host_copy(logits_here_.data(), size_bytes);
    if (root_is_here) return assemble(rows.batch, wanted, part.host(), sink);
    outbox_.post(std::move(part), size_bytes, 0, kLogitsTag);
    outbox_.drain(kMostUnderWay_bytes);
  });
}

void Head::collect(const TokenBatch& batch, const HeadSink& sink) {
  const TraceZone zone(Zone::kHead);
  for_each_block(batch, [&](const Wanted& wanted) { assemble(batch, wanted, nullptr, sink); });
}

/// Bytes that a rank with this part of the vocabulary has to give.
std::size_t Head::part_bytes(const Wanted& wanted, Range vocabulary) const {
  return wanted.rows.size() * (wanted.scores() ? sums_of(vocabulary).size_bytes() : bytes_of<float>(vocabulary.size()));
}

/// The sums of the blocks of this rank's logits, for the host.
backend::Buffer Head::sum_up(const Wanted& wanted) const {
  const Range vocabulary = context_.grid.vocabulary(context_.me);
  backend::Buffer sums(context_.backend, backend::Space::kPinned, part_bytes(wanted, vocabulary));
  context_.kernels().block_sums(context_.queue, logits_here_.as<float>(), std::ssize(wanted.rows), vocabulary.begin,
                                vocabulary.size(), context_.queue.argument(wanted.tokens), sums.data());
  context_.queue.wait();
  return sums;
}

/// Normalises and rounds the wanted rows that this rank owns and gathers those of all ranks, ascending.
void Head::gather_normed(const BatchRows& rows, std::span<const std::int32_t> wanted, backend::Ptr<const float> x) {
  const ModelConfig& config = context_.config();
  const backend::Kernels& k = context_.kernels();
  backend::Queue& queue = context_.queue;
  const std::int64_t width = config.emb_size;
  const auto row_elems = static_cast<std::size_t>(width);
  const auto wanted_of = [&](plan::StageRank rank) {
    const Range owned = rows.map.share(rank);
    const auto begin = std::lower_bound(wanted.begin(), wanted.end(), owned.begin);
    return std::span(begin, std::lower_bound(begin, wanted.end(), owned.end));
  };
  num_rows_.clear();
  for (const plan::StageRank rank : context_.grid.ranks())
    num_rows_.push_back(static_cast<std::int32_t>(wanted_of(rank).size()));
  places_.clear();
  for (const std::int32_t row : wanted_of(context_.me))
    places_.push_back(row - static_cast<std::int32_t>(rows.own.begin));

  const auto num_own = std::ssize(places_);
  own_.reserve(places_.size() * row_elems * sizeof(float));
  normed_.reserve(places_.size() * row_elems * sizeof(float));
  rounded_.reserve(places_.size() * context_.act_row_bytes());
  gathered_.reserve(wanted.size() * context_.act_row_bytes());
  k.gather_rows(queue, x.as<const std::byte>(), queue.argument(std::span(places_)), num_own, row_elems * sizeof(float),
                own_.data());
  k.rms_norm(queue, own_.as<float>(), final_norm_, num_own, width, config.arch.rms_norm_eps, normed_.as<float>());
  show_normed(rows.batch, wanted_of(context_.me));
  k.to_activation(queue, normed_.as<float>(), width, num_own, width, 1, rounded_.data());
  exchange_.all_gather(rounded_.slice(), gathered_.slice(), num_rows_, context_.act_row_bytes());
}

void Head::show_normed(const TokenBatch& batch, std::span<const std::int32_t> own_rows) const {
  if (!context_.probe) return;
  const auto width = static_cast<std::size_t>(context_.config().emb_size);
  const backend::Buffer normed = context_.host_copy(normed_.data(), own_rows.size() * width * sizeof(float));
  for (std::size_t i = 0; i < own_rows.size(); ++i)
    context_.probe->see({static_cast<std::int32_t>(context_.config().num_layers), Operation::kFinalNorm}, batch,
                        {own_rows[i], own_rows[i] + 1}, {normed.host<const float>() + i * width, width});
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
  for (const plan::StageRank rank : grid.ranks()) {
    const Range vocabulary = grid.vocabulary(rank);
    const std::byte* part = own_part;
    const int source = grid.in_world(grid.last_stage(), rank).value();
    if (source != context_.world.rank()) {
      received_.resize(part_bytes(wanted, vocabulary));
      comm::receive(context_.world, received_, source, kLogitsTag);
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
  logits_.resize(num_rows * vocab_size);
  const auto row_bytes = bytes_of<float>(vocabulary.size());
  for (std::size_t row = 0; row < num_rows; ++row)
    std::memcpy(logits_.data() + row * vocab_size + static_cast<std::size_t>(vocabulary.begin), part + row * row_bytes,
                row_bytes);
  return logits_.data();
}

void Head::place_scores(const Wanted& wanted, Range vocabulary, const std::byte* part) {
  const std::size_t num_in_part = num_blocks(vocabulary), num = blocks_.size() / wanted.rows.size();
  const auto first = static_cast<std::size_t>(vocabulary.begin) / kLogProbBlock;
  for (std::size_t row = 0; row < wanted.rows.size(); ++row) {
    const std::byte* from = part + row * sums_of(vocabulary).size_bytes();
    if (num_in_part > 0) std::memcpy(&blocks_[row * num + first], from, num_in_part * sizeof(BlockSum));
    if (vocabulary.contains(wanted.tokens[row]))
      std::memcpy(&scores_[row].logit, from + num_in_part * sizeof(BlockSum), sizeof(float));
  }
}

}  // namespace moesaic
