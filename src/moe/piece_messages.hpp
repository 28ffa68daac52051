#pragma once

#include "comm/mailbox.hpp"
#include "moe/dispatch_context.hpp"
#include "moe/routing.hpp"
#include "plan/tree_table.hpp"

namespace moesaic::moe {

/// The holders' half of combine: what this rank's domain has made of an owner's rows goes back to the owner.
class PieceSender {
 public:
  PieceSender(const DispatchContext& context, comm::Mailbox& mail);

  /// outputs: of each of the domain's members, its expert batch's (terms, D). places: of the block's rows.
  void send(const plan::RowBlock& block, std::span<const std::int32_t> places,
            std::span<const backend::ConstBytes> outputs);

  /// Pieces that this rank's domain has made of its own rows.
  backend::ConstBytes own_stream() const { return streams_[context_.me].data(); }

 private:
  const DispatchContext& context_;
  comm::Mailbox& mail_;
  const plan::TreeTable trees_;
  std::vector<plan::PieceJob> jobs_;
  IdVector<plan::StageRank, backend::Buffer> streams_;  // of each owner: pieces of its rows
};

/// The owner's half of combine: pieces of own rows come back and are added up.
class PieceInbox {
 public:
  PieceInbox(const DispatchContext& context, comm::Mailbox& mail);

  /// Begins a layer: pieces may come.
  void begin(const plan::OwnerPlan& plan);

  /// Waits for all pieces. m(own rows, D) fp32 = what combine_rows() makes of them.
  void finish(const plan::OwnerPlan& plan, const Routing& routing, backend::ConstBytes own_stream,
              backend::Ptr<float> m);

 private:
  const DispatchContext& context_;
  comm::Mailbox& mail_;
  const plan::TreeTable trees_;
  backend::Buffer received_;
  IdVector<plan::DomainId, backend::ConstBytes> streams_;
};

}  // namespace moesaic::moe
