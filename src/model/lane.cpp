#include "model/lane.hpp"

namespace moesaic {

Lane::Lane(StageContext& context)
    : context_(context),
      comm_(context.stage_comm.split(0)),
      table_(context.device_buffer()),
      x_(context.device_buffer()),
      input_(context.device_buffer()),
      routing_(context.backend) {}

void Lane::enter(const TokenBatch& batch, const KvCache& cache) {
  const plan::Grid& grid = context_.grid;
  const plan::DispatchAlgorithm dispatch = context_.dispatch.algorithm(batch.num_rows());
  map_.emplace(grid, batch.num_group_rows, plan::traits(dispatch).ownership);
  const Range group = map_->group_rows(grid.group(context_.me));
  rows_.emplace(
      BatchRows{batch, *map_, dispatch, map_->rows(context_.me), group, make_page_table(batch, group, cache)});
  dispatcher_ = &dispatcher_for(dispatch);
  x_.reserve(x_bytes());
  input_.reserve_rows(rows_->num_own(), context_.input_row_bytes());
}

/// Rows of a sequence follow each other; its blocks are listed once.
backend::PageTable Lane::make_page_table(const TokenBatch& batch, Range group, const KvCache& cache) {
  contexts_.clear();
  blocks_.clear();
  std::int32_t first_block = 0;
  SequenceId sequence;
  for (auto row = static_cast<std::size_t>(group.begin); row < static_cast<std::size_t>(group.end); ++row) {
    if (contexts_.empty() || batch.sequences[row] != sequence) {
      sequence = batch.sequences[row];
      first_block = static_cast<std::int32_t>(blocks_.size());
      const auto& blocks = cache.blocks(sequence);
      blocks_.insert(blocks_.end(), blocks.begin(), blocks.end());
    }
    contexts_.push_back({batch.positions[row], first_block});
  }
  const std::size_t contexts_bytes = contexts_.size() * sizeof(backend::RowContext),
                    blocks_bytes = blocks_.size() * sizeof(backend::Bytes);
  table_.reserve(contexts_bytes + blocks_bytes);
  backend::Queue& queue = context_.queue;
  const backend::Bytes blocks = table_.data() + static_cast<std::int64_t>(contexts_bytes);
  queue.copy(table_.data(), queue.argument(std::span(contexts_)).as<const std::byte>(), contexts_bytes);
  queue.copy(blocks, queue.argument(std::span(blocks_)).as<const std::byte>(), blocks_bytes);
  return {table_.as<backend::RowContext>(), blocks.as<backend::Bytes>(), std::ssize(contexts_)};
}

moe::Dispatcher& Lane::dispatcher_for(plan::DispatchAlgorithm algorithm) {
  auto& dispatcher = dispatchers_[algorithm];
  if (!dispatcher)
    dispatcher = moe::make_dispatcher(algorithm, context_.grid, context_.dispatch.nodes(), comm_, context_.backend,
                                      context_.queue, context_.dispatch.payload());
  return *dispatcher;
}

}  // namespace moesaic
