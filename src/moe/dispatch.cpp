#include "moe/dispatch.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/parallel.hpp"
#include "base/trace.hpp"
#include "comm/exchange.hpp"
#include "comm/shared_memory.hpp"
#include "moe/combine.hpp"
#include "moe/payload.hpp"
#include "moe/segment.hpp"
#include "plan/slot_choice.hpp"

namespace moesaic::moe {
namespace {

using plan::DispatchAlgorithm;
using plan::StageRank;

constexpr int kRowsTag = 5, kPiecesTag = 6;
constexpr std::int64_t kGrain_rows = 16;  ///< that are worth another thread
/// Terms of a local expert that are worth a pass over its weights while more are on their way.
constexpr std::int64_t kBatchTerms = 48;

std::unique_ptr<comm::Mailbox> make_mailbox(DispatchAlgorithm algorithm, const comm::Communicator& stage, int tag) {
  return algorithm == DispatchAlgorithm::kAlltoallv ? comm::make_alltoallv_mailbox(stage)
                                                    : comm::make_pairwise_mailbox(stage, tag);
}

class RoutedDispatcher final : public Dispatcher {
 public:
  RoutedDispatcher(DispatchAlgorithm algorithm, const plan::Grid& grid, std::span<const int> node_of,
                   const comm::Communicator& stage, const ops::Kernels& kernels, DispatchPayload payload)
      : algorithm_(algorithm),
        setting_(grid,
                 algorithm == DispatchAlgorithm::kHier ? plan::Domains(node_of) : plan::Domains::alone(stage.size()),
                 piece_sizes(grid, kernels)),
        stage_(stage),
        me_{stage.rank()},
        domain_(setting_.domains.domain(me_)),
        kernels_(kernels),
        payload_(grid.config().emb_size, kernels, payload),
        message_(row_message(grid, kernels, payload)),
        rows_mail_(make_mailbox(algorithm, stage, kRowsTag)),
        pieces_mail_(make_mailbox(algorithm, stage, kPiecesTag)),
        slot_choice_(setting_.grid, plan::Domains(node_of),
                     algorithm == DispatchAlgorithm::kDense ? std::nullopt : std::optional(me_)),
        segments_(members().size()),
        memory_of_(members().size()),
        outputs_of_(members().size()),
        streams_(static_cast<std::size_t>(stage.size())) {
    if (algorithm == DispatchAlgorithm::kHier) shared_.emplace(stage.split(domain_));
  }

  void start_dispatch(const std::byte* n, const plan::RowMap& rows, const Routing& routing,
                      std::int64_t layer) override {
    const TraceZone zone(Zone::kDispatch);
    routing_ = &routing;
    rows_ = &rows;
    choose_slots(layer);
    plan::plan_owner(setting_, me_, slots_, owner_);
    lay_out_memory();
    for (const Segment::Slot& slot : own_segment().slots)
      rows_mail_->expect(index(slot.source), own_memory() + slot.offset, slot.size);
    expect_pieces();
    blocks_.clear();
    num_given_out_ = first_of_batch_ = 0;
    const std::byte* const own = payload_.encode(n, own_rows().size());
    if (shared_)
      write_message(own, std::nullopt, own_memory());
    else if (!own_rows().empty())
      blocks_.push_back({{me_, slots_}, own, true});
    if (rows_travel()) send_rows(own);
    rows_delivered_ = false;
  }

  bool next_batch(ExpertBatch& batch) override {
    const TraceZone whole(Zone::kDispatch);
    timed(Zone::kWait, [&] { shared_ ? collect_from_node() : collect_enough(); });
    if (num_given_out_ == blocks_.size()) return false;
    const TraceZone zone(Zone::kPermute);
    first_of_batch_ = std::exchange(num_given_out_, blocks_.size());
    const std::span<const Block> blocks = std::span(blocks_).subspan(first_of_batch_);
    row_blocks_.clear();
    for (const Block& block : blocks) row_blocks_.push_back(block.plan);
    plan::plan_batch(setting_, me_, row_blocks_, batch_plan_);
    batch.psum_slot_rows = batch_plan_.psum_slot_rows;
    if (!shared_) {
      outputs_.reserve(static_cast<std::size_t>(batch.num_terms()) * setting_.term_bytes());
      outputs_of_[0] = outputs_.data();
    }
    batch.outputs = outputs_of_[own_place()];
    const std::size_t input_bytes = GemmInput{kernels_.numerics, setting_.grid.config().emb_size}.row_bytes();
    batch.rows.reserve(batch_plan_.sources.size() * input_bytes);
    parallel_for(batch.num_terms(), kGrain_rows, [&](std::int64_t term) {
      const auto& [block, row] = batch_plan_.sources[static_cast<std::size_t>(term)];
      payload_.decode(blocks[static_cast<std::size_t>(block)].rows + static_cast<std::size_t>(row) * message_.row_bytes,
                      batch.rows.data() + static_cast<std::size_t>(term) * input_bytes);
    });
    return true;
  }

  void poll() override {
    if (stage_.size() > 1) stage_.progress();
  }

  void start_combine() override {
    const TraceZone zone(Zone::kCombine);
    if (shared_) timed(Zone::kWait, [&] { meet(); });  // the outputs of all members are there
    std::size_t first_place = 0;
    for (std::size_t b = first_of_batch_; b < num_given_out_; ++b) {
      const Block& block = blocks_[b];
      const std::size_t num_places = block.plan.slots.size();
      if (block.mine) send_pieces(block.plan, std::span(batch_plan_.places).subspan(first_place, num_places));
      first_place += num_places;
    }
  }

  void finish_combine(float* m) override {
    const TraceZone zone(Zone::kCombine);
    timed(Zone::kWait, [&] {
      while (pieces_mail_->next()) {
      }
      pieces_mail_->finish();
    });
    timed(Zone::kUnpermute, [&] {
      arrived_[static_cast<std::size_t>(domain_)] = streams_[static_cast<std::size_t>(index(me_))].data();
      combine_pieces(setting_, kernels_, owner_, *routing_, slots_, arrived_, m);
    });
  }

 private:
  /// Rows of an owner that are here.
  struct Block {
    plan::RowBlock plan;
    const std::byte* rows;  // (rows, D), as they travel
    bool mine;              // this rank sends back its pieces
  };

  const std::vector<StageRank>& members() const { return setting_.domains.members(domain_); }
  std::size_t own_place() const { return static_cast<std::size_t>(setting_.domains.place(me_)); }
  Range own_rows() const { return rows_->rows(me_); }
  bool rows_travel() const { return algorithm_ != DispatchAlgorithm::kDense; }
  const Segment& own_segment() const { return segments_[own_place()]; }
  std::byte* own_memory() const { return memory_of_[own_place()]; }

  void choose_slots(std::int64_t layer) {
    slots_ = routing_->ascending_experts;
    if (setting_.grid.placement().at_home()) return;
    slot_choice_.choose(layer, own_rows().begin, routing_->ascending_experts, chosen_slots_);
    slots_ = chosen_slots_;
  }

  void lay_out_memory() {
    if (laid_out_ == *rows_) return;
    laid_out_ = *rows_;
    if (shared_) meet();  // nobody reads what lies there any more
    std::size_t most = 0;
    for (std::size_t i = 0; i < members().size(); ++i) {
      segments_[i] = lay_out(setting_, *rows_, message_, members()[i], rows_travel(), shared_.has_value());
      most = std::max(most, segments_[i].size);
    }
    if (shared_)
      shared_->reserve(most);
    else
      private_.reserve(most);
    for (std::size_t i = 0; i < members().size(); ++i) {
      memory_of_[i] = shared_ ? shared_->of(static_cast<int>(i)) : private_.data();
      outputs_of_[i] = memory_of_[i] + segments_[i].outputs_offset;
    }
  }

  /// Pieces of own rows come from the relays of the other domains.
  void expect_pieces() {
    std::size_t size = 0;
    for (int domain = 0; domain < setting_.domains.size(); ++domain)
      if (domain != domain_) size += owner_.stream_bytes[static_cast<std::size_t>(domain)];
    received_.reserve(size);
    arrived_.assign(owner_.stream_bytes.size(), nullptr);
    std::byte* into = received_.data();
    for (int domain = 0; domain < setting_.domains.size(); ++domain) {
      const std::size_t stream_bytes = owner_.stream_bytes[static_cast<std::size_t>(domain)];
      if (domain == domain_ || stream_bytes == 0) continue;
      pieces_mail_->expect(index(setting_.domains.relay(domain, me_)), into, stream_bytes);
      arrived_[static_cast<std::size_t>(domain)] = into;
      into += stream_bytes;
    }
  }

  /// A message of some own rows, or of all. own: all, as they travel.
  void write_message(const std::byte* own, std::optional<std::span<const std::int32_t>> rows, std::byte* to) const {
    const auto num_rows = static_cast<std::int32_t>(rows ? std::ssize(*rows) : own_rows().size());
    const auto ids_bytes = static_cast<std::size_t>(setting_.active()) * sizeof(std::int32_t);
    const auto* ids = reinterpret_cast<const std::byte*>(slots_.data());
    std::memcpy(to, &num_rows, sizeof num_rows);
    parallel_for(num_rows, kGrain_rows, [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      const auto row = rows ? static_cast<std::size_t>((*rows)[at]) : at;
      std::memcpy(to + message_.slots_offset_bytes() + at * ids_bytes, ids + row * ids_bytes, ids_bytes);
      std::memcpy(to + message_.rows_offset_bytes(num_rows) + at * message_.row_bytes, own + row * message_.row_bytes,
                  message_.row_bytes);
    });
  }

  Block read_message(StageRank owner, const std::byte* message, bool mine) const {
    std::int32_t num_rows = 0;
    std::memcpy(&num_rows, message, sizeof num_rows);
    const auto* ids = reinterpret_cast<const std::int32_t*>(message + message_.slots_offset_bytes());
    return {{owner, {ids, static_cast<std::size_t>(num_rows * setting_.active())}},
            message + message_.rows_offset_bytes(num_rows),
            mine};
  }

  /// To each other domain in turn, from the next one on, so that not all begin with the same.
  void send_rows(const std::byte* own) {
    if (own_rows().empty()) return;
    const bool all = algorithm_ == DispatchAlgorithm::kAgrs;
    const int num_domains = setting_.domains.size();
    const auto size_for = [&](int domain) {
      return message_.size_bytes(all ? own_rows().size() : std::ssize(owner_.rows_for(domain)));
    };
    std::size_t size = all ? size_for(domain_) : 0;
    for (int domain = 0; !all && domain < num_domains; ++domain) size += size_for(domain);
    send_.reserve(size);
    std::byte* message = send_.data();
    if (all) timed(Zone::kPermute, [&] { write_message(own, std::nullopt, message); });
    for (int k = 1; k < num_domains; ++k) {
      const int domain = (domain_ + k) % num_domains;
      if (!all) timed(Zone::kPermute, [&] { write_message(own, owner_.rows_for(domain), message); });
      timed(Zone::kSend,
            [&] { rows_mail_->send(index(setting_.domains.relay(domain, me_)), message, size_for(domain)); });
      if (!all) message += size_for(domain);
    }
  }

  /// Ends the exchange of rows: nobody waits for this rank's any more. MPI moves them only while this rank is at it.
  void deliver_rows() {
    if (!rows_delivered_) rows_mail_->finish();
    rows_delivered_ = true;
  }

  /// Waits until the rows that are here and not given out are worth a batch, or until all have come.
  void collect_enough() {
    // A rank without experts waits too: messages without rows come to it.
    const auto worth = std::max<std::int64_t>(1, kBatchTerms * setting_.slots(me_).size());
    std::int64_t terms = 0;
    for (std::size_t b = num_given_out_; b < blocks_.size(); ++b)
      terms += plan::num_terms(setting_, me_, blocks_[b].plan);
    while (!rows_delivered_) {
      const auto arrival = rows_mail_->next(terms < worth);
      if (!arrival) break;
      const StageRank source{arrival->source};
      const auto& slots = own_segment().slots;
      const auto slot =
          std::find_if(slots.begin(), slots.end(), [&](const Segment::Slot& s) { return s.source == source; });
      blocks_.push_back(read_message(source, own_memory() + slot->offset, true));
      terms += plan::num_terms(setting_, me_, blocks_.back().plan);
    }
    if (rows_mail_->num_expected() == 0) deliver_rows();
  }

  /// All rows of the domain in one batch: each member derives where the others put their outputs.
  void collect_from_node() {
    if (!blocks_.empty()) return;
    while (rows_mail_->next()) {
    }
    deliver_rows();
    meet();
    for (std::size_t i = 0; i < members().size(); ++i) {
      const StageRank member = members()[i];
      blocks_.push_back(read_message(member, memory_of_[i], member == me_));
      for (const Segment::Slot& slot : segments_[i].slots)
        blocks_.push_back(read_message(slot.source, memory_of_[i] + slot.offset, member == me_));
    }
  }

  /// All ranks of the node. Messages go on meanwhile.
  void meet() {
    shared_->barrier([&] { stage_.progress(); });
  }

  void send_pieces(const plan::RowBlock& block, std::span<const std::int32_t> places) {
    AlignedBuffer& stream = streams_[static_cast<std::size_t>(index(block.owner))];
    std::size_t stream_bytes = 0;
    {
      const TraceZone zone(Zone::kPermute);
      stream_bytes = plan::plan_pieces(setting_, domain_, block, places, jobs_);
      stream.reserve(stream_bytes);
      write_pieces(setting_, kernels_, jobs_, outputs_of_, stream.data());
    }
    if (stream_bytes == 0) return;
    const TraceZone zone(Zone::kSend);
    if (algorithm_ == DispatchAlgorithm::kDense) {
      for (int k = 1; k < setting_.domains.num_ranks(); ++k)
        pieces_mail_->send((index(me_) + k) % setting_.domains.num_ranks(), stream.data(), stream_bytes);
    } else if (block.owner != me_) {
      pieces_mail_->send(index(block.owner), stream.data(), stream_bytes);
    }
  }

  const DispatchAlgorithm algorithm_;
  const plan::DispatchSetting setting_;
  const comm::Communicator& stage_;
  const StageRank me_;
  const int domain_;
  const ops::Kernels& kernels_;
  Payload payload_;
  const plan::RowMessage message_;
  const std::unique_ptr<comm::Mailbox> rows_mail_, pieces_mail_;
  const plan::SlotChoice slot_choice_;
  std::optional<comm::SharedMemory> shared_;  // kHier's

  // Of the layer that is under way.
  const plan::RowMap* rows_ = nullptr;
  const Routing* routing_ = nullptr;
  std::span<const std::int32_t> slots_;  // (own rows, A)
  std::vector<std::int32_t> chosen_slots_;
  plan::OwnerPlan owner_;
  plan::BatchPlan batch_plan_;
  std::vector<Block> blocks_;
  std::vector<plan::RowBlock> row_blocks_;              // of the batch
  std::size_t first_of_batch_ = 0, num_given_out_ = 0;  // blocks
  bool rows_delivered_ = false;
  std::vector<plan::PieceJob> jobs_;

  std::optional<plan::RowMap> laid_out_;  // what the next three are for
  std::vector<Segment> segments_;         // by member of the domain
  std::vector<std::byte*> memory_of_;     // by member
  std::vector<std::byte*> outputs_of_;    // by member
  AlignedBuffer private_;                 // own segment where nobody else reads it
  AlignedBuffer outputs_;                 // (terms, D), likewise
  AlignedBuffer send_;                    // messages of rows
  std::vector<AlignedBuffer> streams_;    // by owner: pieces of its rows
  AlignedBuffer received_;                // pieces of own rows
  std::vector<std::byte*> arrived_;       // by domain, where its pieces lie
};

}  // namespace

plan::PieceSizes piece_sizes(const plan::Grid& grid, const ops::Kernels& kernels) {
  const auto width = static_cast<std::size_t>(grid.config().emb_size);
  return {width * size_bytes(activation_type(kernels.numerics)), width * sizeof(float)};
}

plan::RowMessage row_message(const plan::Grid& grid, const ops::Kernels& kernels, DispatchPayload payload) {
  return {NumericSetting{kernels.numerics, payload}.expert_row(grid.config().emb_size).row_bytes(),
          grid.config().num_selected_experts};
}

std::unique_ptr<Dispatcher> make_dispatcher(DispatchAlgorithm algorithm, const plan::Grid& grid,
                                            std::span<const int> node_of, const comm::Communicator& stage,
                                            const ops::Kernels& kernels, DispatchPayload payload) {
  return std::make_unique<RoutedDispatcher>(algorithm, grid, node_of, stage, kernels, payload);
}

std::vector<int> nodes_of(const comm::Communicator& stage) {
  const comm::Communicator node = stage.split_node();
  const std::int32_t first = node.world_ranks().front();  // names the node
  std::vector<std::int32_t> nodes(static_cast<std::size_t>(stage.size()));
  const std::vector<std::int32_t> one_each(nodes.size(), 1);
  comm::RowExchange(stage).all_gather(&first, nodes.data(), one_each, sizeof first);
  return nodes;
}

}  // namespace moesaic::moe
