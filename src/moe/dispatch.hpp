#pragma once

#include <memory>

#include "backend/backend.hpp"
#include "base/parallel.hpp"
#include "base/trace.hpp"
#include "comm/mpi.hpp"
#include "config/numeric_setting.hpp"
#include "moe/expert_batch.hpp"
#include "moe/routing.hpp"
#include "plan/dispatch_plan.hpp"

namespace moesaic::moe {

/// Brings rows to the ranks that hold their experts, and the experts' outputs back: the one replaceable part of a MoE
/// layer. Whatever the algorithm, the bits of the result are the same. Collective over a stage; ranks without rows take
/// part. pass_through() is one layer. Rows come in one or several batches, own rows first while others are on their
/// way.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;

  /// n: Input (own rows, D), routing: theirs, which the host has waited for; both must stay as they are until
  /// finish_combine(). rows: who owns what; for kDense all own all. layer: experts are where its placement has
  /// them.
  virtual void start_dispatch(backend::ConstBytes n, const plan::RowMap& rows, const Routing& routing,
                              ModelLayer layer) = 0;

  /// Fills `batch` with rows that are here; waits for some. False when all have been given out.
  virtual bool next_batch(ExpertBatch& batch) = 0;

  /// Lets messages go on while this rank computes.
  virtual void poll() = 0;

  /// The outputs of the batch that was filled last go back.
  virtual void start_combine() = 0;

  /// m(own rows, D) fp32 = sum over the row's experts, in the fixed tree, of gate * (complete expert output, rounded to
  /// Act).
  virtual void finish_combine(backend::Ptr<float> m) = 0;
};

/// Between start_dispatch() and finish_combine(): run_experts() on each batch of rows, and its outputs go back.
template <class RunExperts>
void run_batches(Dispatcher& dispatcher, ExpertBatch& batch, RunExperts&& run_experts) {
  while (dispatcher.next_batch(batch)) {
    timed(Zone::kExperts, run_experts);
    dispatcher.start_combine();
  }
}

/// One layer: rows to their experts, run_experts() on each batch of them, and back. The rest as in Dispatcher.
template <class RunExperts>
void pass_through(Dispatcher& dispatcher, backend::ConstBytes n, const plan::RowMap& rows, const Routing& routing,
                  ModelLayer layer, ExpertBatch& batch, RunExperts&& run_experts, backend::Ptr<float> m) {
  const BetweenRanges messages_go_on([&] { dispatcher.poll(); });
  dispatcher.start_dispatch(n, rows, routing, layer);
  run_batches(dispatcher, batch, run_experts);
  dispatcher.finish_combine(m);
}

/// Collective over the stage. node_of: by rank of the stage, equal for ranks of one node; for kHier these share memory.
std::unique_ptr<Dispatcher> make_dispatcher(plan::DispatchAlgorithm algorithm, const plan::Grid& grid,
                                            std::span<const int> node_of, const comm::Communicator& stage,
                                            backend::Backend& backend, backend::Queue& queue,
                                            DispatchPayload payload = DispatchPayload::kAct);

/// Collective over the stage: the node of each rank, as MPI sees them.
std::vector<int> nodes_of(const comm::Communicator& stage);

/// What a dispatcher sends back for a row and an expert.
plan::PieceSizes piece_sizes(const plan::Grid& grid, Numerics numerics);

}  // namespace moesaic::moe
