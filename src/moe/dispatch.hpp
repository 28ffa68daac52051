#pragma once

#include <memory>

#include "comm/exchange.hpp"
#include "moe/expert_batch.hpp"
#include "moe/routing.hpp"
#include "ops/kernels.hpp"

namespace moesaic::moe {

/// Brings rows to the ranks that hold their experts, and the experts' outputs back: the one replaceable part of a MoE
/// layer. Whatever the algorithm, combine() gives the same bits. Collective over a stage; ranks without rows take part.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;

  /// n: Input (own rows, D). Fills batch.plan and batch.rows.
  virtual void dispatch(const std::byte* n, const plan::RowMap& rows, const Routing& routing, ExpertBatch& batch) = 0;

  /// m(own rows, D) fp32 = sum over the row's experts, in the fixed tree, of gate * (complete expert output, rounded to
  /// Act). Reads batch.outputs.
  virtual void combine(const plan::RowMap& rows, const Routing& routing, ExpertBatch& batch, float* m) = 0;
};

/// One MPI_Alltoallv each way; the expert ids of all rows are gathered first, so that every rank knows all counts.
std::unique_ptr<Dispatcher> make_alltoallv_dispatcher(const plan::Grid& grid, plan::StageRank me,
                                                      const comm::Communicator& stage, const ops::Kernels& kernels);

}  // namespace moesaic::moe
