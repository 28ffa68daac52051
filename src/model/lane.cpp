#include "model/lane.hpp"

namespace moesaic {

void Lane::enter(const TokenBatch& batch, const KvCache& cache) {
  const plan::Grid& grid = context_.grid;
  const plan::DispatchAlgorithm dispatch = context_.dispatch.algorithm(batch.num_rows());
  map_.emplace(grid, batch.num_group_rows,
               dispatch == plan::DispatchAlgorithm::kDense ? plan::Ownership::kReplicated : plan::Ownership::kShared);
  const Range group = map_->group_rows(grid.group(context_.me));
  contexts_.clear();
  for (auto row = static_cast<std::size_t>(group.begin); row < static_cast<std::size_t>(group.end); ++row)
    contexts_.push_back({cache.blocks(batch.sequences[row]), batch.positions[row]});
  rows_.emplace(BatchRows{batch, *map_, dispatch, map_->rows(context_.me), group, contexts_});
  dispatcher_ = &dispatcher_for(dispatch);
  x_.reserve(num_x() * sizeof(float));
  input_.reserve(static_cast<std::size_t>(rows_->num_own()) * context_.input_row_bytes());
}

moe::Dispatcher& Lane::dispatcher_for(plan::DispatchAlgorithm algorithm) {
  auto& dispatcher = dispatchers_[algorithm];
  if (!dispatcher)
    dispatcher = moe::make_dispatcher(algorithm, context_.grid, context_.dispatch.nodes(), comm_, context_.kernels,
                                      context_.dispatch.payload());
  return *dispatcher;
}

}  // namespace moesaic
