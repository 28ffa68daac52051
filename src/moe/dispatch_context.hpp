#pragma once

#include "backend/backend.hpp"
#include "comm/mpi.hpp"
#include "plan/dispatch_plan.hpp"

namespace moesaic::moe {

/// What the parts of a dispatcher share; lives as long as it.
struct DispatchContext {
  const plan::AlgorithmTraits& traits;
  const plan::DispatchSetting setting;
  const comm::Communicator& stage;
  const plan::StageRank me;
  backend::Backend& backend;
  backend::Queue& queue;
  const DispatchPayload payload;

  plan::DomainId domain() const { return setting.domains.domain(me); }
  const IdVector<plan::MemberId, plan::StageRank>& members() const { return setting.domains.members(domain()); }
  plan::MemberId own_place() const { return setting.domains.place(me); }
  std::int64_t width() const { return setting.grid.config().emb_size; }
  NumericSetting numeric() const { return {backend.numerics(), payload}; }
  plan::RowMessage message() const { return plan::row_message(setting.grid.config(), numeric()); }
  bool rows_travel() const { return traits.ownership == plan::Ownership::kShared; }
};

}  // namespace moesaic::moe
