#include "moe/dispatch.hpp"

#include <optional>

#include "moe/node_memory.hpp"
#include "moe/piece_messages.hpp"
#include "moe/row_messages.hpp"
#include "plan/slot_choice.hpp"

namespace moesaic::moe {
namespace {

using plan::StageRank;

constexpr int kRowsTag = 5, kPiecesTag = 6;

std::unique_ptr<comm::Mailbox> make_mailbox(const plan::AlgorithmTraits& traits, const comm::Communicator& stage,
                                            int tag) {
  return traits.sizes_first ? comm::make_alltoallv_mailbox(stage) : comm::make_pairwise_mailbox(stage, tag);
}

class RoutedDispatcher final : public Dispatcher {
 public:
  RoutedDispatcher(const plan::AlgorithmTraits& traits, const plan::Grid& grid, std::span<const int> node_of,
                   const comm::Communicator& stage, backend::Backend& backend, backend::Queue& queue,
                   DispatchPayload payload)
      : context_{traits,
                 {grid, traits.by_nodes ? plan::Domains(node_of) : plan::Domains::alone(stage.size()),
                  piece_sizes(grid, backend.numerics())},
                 stage,
                 StageRank{stage.rank()},
                 backend,
                 queue,
                 payload},
        rows_mail_(make_mailbox(traits, stage, kRowsTag)),
        pieces_mail_(make_mailbox(traits, stage, kPiecesTag)),
        memory_(context_),
        row_sender_(context_, *rows_mail_),
        row_inbox_(context_, memory_, *rows_mail_),
        piece_sender_(context_, *pieces_mail_),
        piece_inbox_(context_, *pieces_mail_),
        slot_choice_(grid, plan::Domains(node_of), context_.rows_travel() ? std::optional(context_.me) : std::nullopt),
        own_outputs_(backend, backend::Space::kDevice) {}

  void start_dispatch(backend::ConstBytes n, const plan::RowMap& rows, const Routing& routing,
                      ModelLayer layer) override {
    const TraceZone zone(Zone::kDispatch);
    routing_ = &routing;
    choose_slots(rows.rows(context_.me), layer);
    plan::plan_owner(context_.setting, context_.me, slots_, owner_);
    memory_.lay_out(rows);
    const backend::ConstBytes own = row_sender_.encode(n, rows.rows(context_.me).size());
    row_inbox_.begin(own, slots_);
    piece_inbox_.begin(owner_);
    if (memory_.shared()) row_sender_.show(own, slots_, memory_.own_message(context_.own_place()));
    if (context_.rows_travel()) row_sender_.send(own, slots_, owner_);
  }

  bool next_batch(ExpertBatch& batch) override {
    const TraceZone whole(Zone::kDispatch);
    arrived_ = row_inbox_.next();
    if (arrived_.empty()) return false;
    const TraceZone zone(Zone::kPermute);
    blocks_.clear();
    rows_of_blocks_.clear();
    for (const ArrivedRows& rows : arrived_) {
      blocks_.push_back(rows.block());
      rows_of_blocks_.push_back(rows.rows);
    }
    plan::plan_batch(context_.setting, context_.me, blocks_, batch_plan_);
    batch.psum_slot_rows = batch_plan_.psum_slot_rows;
    place_outputs(batch);
    batch.rows.reserve_rows(batch.num_terms(), context_.numeric().row(context_.width()).row_bytes());
    backend::Queue& queue = context_.queue;
    context_.backend.kernels().permute(queue, queue.argument(std::span<const backend::ConstBytes>(rows_of_blocks_)),
                                       queue.argument(std::span(batch_plan_.sources)), batch.num_terms(),
                                       context_.numeric(), context_.width(), batch.rows.data());
    return true;
  }

  void poll() override {
    if (context_.stage.size() > 1) context_.stage.progress();
  }

  void start_combine() override {
    const TraceZone zone(Zone::kCombine);
    if (memory_.shared()) timed(Zone::kWait, [&] { memory_.meet(); });  // the outputs of all members are there
    std::size_t first_place = 0;
    for (const ArrivedRows& rows : arrived_) {
      if (rows.answers)
        piece_sender_.send(rows.block(), std::span(batch_plan_.places).subspan(first_place, rows.slots.size()),
                           outputs_);
      first_place += rows.slots.size();
    }
  }

  void finish_combine(backend::Ptr<float> m) override {
    const TraceZone zone(Zone::kCombine);
    piece_inbox_.finish(owner_, *routing_, piece_sender_.own_stream(), m);
  }

 private:
  /// Which of an expert's holders each own row goes to.
  void choose_slots(Range own_rows, ModelLayer layer) {
    slots_ = routing_->ascending_experts();
    if (context_.setting.grid.placement().at_home()) return;
    slot_choice_.choose(layer, own_rows.begin, slots_, chosen_slots_);
    slots_ = chosen_slots_;
  }

  /// Where the experts of this rank, and of those that share memory with it, put their outputs.
  void place_outputs(ExpertBatch& batch) {
    outputs_.clear();
    if (memory_.shared()) {
      for (const plan::MemberId member : context_.members().ids()) outputs_.push_back(memory_.outputs(member));
      batch.outputs = memory_.outputs(context_.own_place());
      return;
    }
    own_outputs_.reserve_rows(batch.num_terms(), context_.setting.term_bytes());
    batch.outputs = own_outputs_.data();
    outputs_.push_back(batch.outputs);
  }

  const DispatchContext context_;
  const std::unique_ptr<comm::Mailbox> rows_mail_, pieces_mail_;
  NodeMemory memory_;
  RowSender row_sender_;
  RowInbox row_inbox_;
  PieceSender piece_sender_;
  PieceInbox piece_inbox_;
  const plan::SlotChoice slot_choice_;
  backend::Buffer own_outputs_;  // (terms, D), where no other rank reads them

  // State of the layer in progress: start_dispatch() sets it, finish_combine() is its last reader.
  const Routing* routing_ = nullptr;
  std::span<const std::int32_t> slots_;  // (own rows, A)
  std::vector<std::int32_t> chosen_slots_;
  plan::OwnerPlan owner_;

  // State of the batch that was filled last.
  std::span<const ArrivedRows> arrived_;
  std::vector<plan::RowBlock> blocks_;
  std::vector<backend::ConstBytes> rows_of_blocks_;
  plan::BatchPlan batch_plan_;
  std::vector<backend::ConstBytes> outputs_;  // by member of the domain
};

}  // namespace

plan::PieceSizes piece_sizes(const plan::Grid& grid, Numerics numerics) {
  const std::int64_t width = grid.config().emb_size;
  return {activation_row(numerics, width).row_bytes(), static_cast<std::size_t>(width) * sizeof(float)};
}

std::unique_ptr<Dispatcher> make_dispatcher(plan::DispatchAlgorithm algorithm, const plan::Grid& grid,
                                            std::span<const int> node_of, const comm::Communicator& stage,
                                            backend::Backend& backend, backend::Queue& queue, DispatchPayload payload) {
  return std::make_unique<RoutedDispatcher>(plan::traits(algorithm), grid, node_of, stage, backend, queue, payload);
}

std::vector<int> nodes_of(const comm::Communicator& stage) {
  const comm::Communicator node = stage.split_node();
  std::vector<double> first_of_node(static_cast<std::size_t>(stage.size()));  // names the node
  first_of_node[static_cast<std::size_t>(stage.rank())] = node.world_ranks().front();
  stage.reduce(first_of_node, MPI_SUM);
  return {first_of_node.begin(), first_of_node.end()};
}

}  // namespace moesaic::moe
