#include "moe/dispatch.hpp"

#include <cstring>

#include "base/parallel.hpp"
#include "base/trace.hpp"
#include "moe/combine.hpp"

namespace moesaic::moe {
namespace {

constexpr std::int64_t kGrain_rows = 16;  ///< that are worth another thread

/// out(i) = in(rows[i]), rows of row_bytes.
void gather_rows(const std::byte* in, std::span<const std::int32_t> rows, std::size_t row_bytes, std::byte* out) {
  parallel_for(std::ssize(rows), kGrain_rows, [&](std::int64_t i) {
    std::memcpy(out + static_cast<std::size_t>(i) * row_bytes,
                in + static_cast<std::size_t>(rows[static_cast<std::size_t>(i)]) * row_bytes, row_bytes);
  });
}

std::size_t sum(std::span<const std::int32_t> counts) {
  std::size_t total = 0;
  for (const auto count : counts) total += static_cast<std::size_t>(count);
  return total;
}

class AlltoallvDispatcher final : public Dispatcher {
 public:
  AlltoallvDispatcher(const plan::Grid& grid, plan::StageRank me, const comm::Communicator& stage,
                      const ops::Kernels& kernels)
      : grid_(grid),
        me_(me),
        exchange_(stage),
        kernels_(kernels),
        leaf_merges_(plan::finish_tree(grid.expert_leaves())),
        row_bytes_(GemmInput{kernels.numerics, grid.config().emb_size}.row_bytes()),
        term_bytes_(static_cast<std::size_t>(grid.config().emb_size) *
                    (grid.layout().etp == 1 ? size_bytes(activation_type(kernels.numerics)) : sizeof(float))) {}

  void dispatch(const std::byte* n, const plan::RowMap& rows, const Routing& routing, ExpertBatch& batch) override {
    gather_routing(rows, routing);
    plan::plan_dispatch(grid_, rows, me_, stage_experts_, batch.plan);
    const plan::DispatchPlan& plan = batch.plan;

    const std::byte* received = n;  // alone in the stage, a rank sends itself all of its rows
    if (grid_.ranks_per_stage() > 1) {
      send_.reserve(plan.send_rows.size() * row_bytes_);
      recv_.reserve(sum(plan.num_recv_rows) * row_bytes_);
      gather_rows(n, plan.send_rows, row_bytes_, send_.data());
      exchange_.all_to_all(send_.data(), plan.num_send_rows, recv_.data(), plan.num_recv_rows, row_bytes_);
      received = recv_.data();
    }
    batch.rows.reserve(plan.expert_rows.size() * row_bytes_);
    gather_rows(received, plan.expert_rows, row_bytes_, batch.rows.data());
  }

  void combine(const plan::RowMap& rows, const Routing& routing, ExpertBatch& batch, float* m) override {
    const plan::DispatchPlan& plan = batch.plan;
    send_.reserve(plan.return_rows.size() * term_bytes_);
    gather_rows(batch.outputs.data(), plan.return_rows, term_bytes_, send_.data());
    std::byte* terms = send_.data();
    if (grid_.ranks_per_stage() > 1) {
      recv_.reserve(sum(plan.num_terms) * term_bytes_);
      exchange_.all_to_all(send_.data(), plan.num_return_rows, recv_.data(), plan.num_terms, term_bytes_);
      terms = recv_.data();
    }
    combine_terms(grid_, leaf_merges_, plan, routing, kernels_, terms, rows.rows(me_).size(), m);
  }

 private:
  /// The experts of all rows of the stage, (rows, A), ascending in a row.
  void gather_routing(const plan::RowMap& rows, const Routing& routing) {
    const auto active = static_cast<std::size_t>(grid_.config().num_selected_experts);
    num_rows_.clear();
    for (int rank = 0; rank < grid_.ranks_per_stage(); ++rank)
      num_rows_.push_back(static_cast<std::int32_t>(rows.rows(plan::StageRank{rank}).size()));
    if (grid_.ranks_per_stage() == 1) {
      stage_experts_ = routing.ascending_experts;
      return;
    }
    stage_experts_.resize(static_cast<std::size_t>(rows.num_rows()) * active);
    exchange_.all_gather(routing.ascending_experts.data(), stage_experts_.data(), num_rows_,
                         active * sizeof(std::int32_t));
  }

  const plan::Grid& grid_;
  plan::StageRank me_;
  comm::RowExchange exchange_;
  const ops::Kernels& kernels_;
  const std::vector<plan::Merge> leaf_merges_;  // that finish an expert's tree from its slices
  std::size_t row_bytes_, term_bytes_;
  AlignedBuffer send_, recv_;
  std::vector<std::int32_t> stage_experts_, num_rows_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_alltoallv_dispatcher(const plan::Grid& grid, plan::StageRank me,
                                                      const comm::Communicator& stage, const ops::Kernels& kernels) {
  return std::make_unique<AlltoallvDispatcher>(grid, me, stage, kernels);
}

}  // namespace moesaic::moe
