#pragma once

#include <memory>
#include <optional>

#include "comm/mailbox.hpp"
#include "moe/node_memory.hpp"

namespace moesaic::moe {

/// Own rows on their way to the experts' ranks.
class RowSender {
 public:
  RowSender(const DispatchContext& context, comm::Mailbox& mail);

  /// n: Input (own rows, D). The rows as they travel: n itself, or rounded, then this object's until the next call. All
  /// rows that experts get pass through here, those of their own rank too, so that the result does not depend on who
  /// holds an expert.
  backend::ConstBytes encode(backend::ConstBytes n, std::int64_t num_rows);

  /// Sends own rows, as they travel, to the other domains that hold slices of their experts. slots: (own rows, A). The
  /// messages are under way until the mailbox' finish().
  void send(backend::ConstBytes own, std::span<const std::int32_t> slots, const plan::OwnerPlan& plan);

  /// Writes the message of all own rows to where the ranks of the node read it.
  void show(backend::ConstBytes own, std::span<const std::int32_t> slots, const backend::Slice& to) const;

 private:
  void write(backend::ConstBytes own, std::span<const std::int32_t> slots,
             std::optional<std::span<const std::int32_t>> rows, const backend::Slice& to) const;

  const DispatchContext& context_;
  comm::Mailbox& mail_;
  backend::Buffer encoded_;                             // (own rows, D) as they travel
  IdVector<plan::DomainId, backend::Buffer> messages_;  // one for all lies in that of the own domain
};

/// Rows of an owner that are here.
struct ArrivedRows {
  plan::StageRank owner;
  std::vector<std::int32_t> slots;  ///< (rows, A)
  backend::ConstBytes rows;         ///< (rows, D), as they travel
  bool answers = false;             ///< whether this rank sends back their pieces

  plan::RowBlock block() const { return {owner, slots}; }
};

/// Rows that come to this rank, or to its node.
class RowInbox {
 public:
  RowInbox(const DispatchContext& context, NodeMemory& memory, comm::Mailbox& mail);

  /// Begins a layer: messages may come. own: this rank's rows, as they travel; slots: (own rows, A).
  void begin(backend::ConstBytes own, std::span<const std::int32_t> slots);

  /// Waits for rows. Those that are here and have not been given out, none when all have.
  std::span<const ArrivedRows> next();

 private:
  void collect_enough();
  void collect_from_node();
  void deliver();
  ArrivedRows read(plan::StageRank owner, const backend::Slice& message, bool answers) const;

  const DispatchContext& context_;
  NodeMemory& memory_;
  comm::Mailbox& mail_;
  std::vector<ArrivedRows> arrived_;  // in this layer
  std::size_t num_given_out_ = 0;
  bool delivered_ = false;
};

}  // namespace moesaic::moe
