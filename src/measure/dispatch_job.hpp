#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/enum_array.hpp"
#include "base/hash.hpp"
#include "base/trace.hpp"
#include "measure/gemm_layer.hpp"
#include "measure/payload_errors.hpp"
#include "measure/progress.hpp"
#include "measure/routed_steps.hpp"
#include "measure/stand_in_experts.hpp"
#include "moe/dispatch.hpp"
#include "plan/dispatch_traffic.hpp"

namespace moesaic::measure {

/// The phases of a layer's dispatch and combine whose time is measured on each rank.
enum class DispatchPhase : std::uint8_t {
  kTotal,      ///< dispatch and combine, experts left out
  kTransport,  ///< sends and waits
  kDispatch,
  kCombine,
  kPermute,
  kPlan,  ///< finding out what goes where: dispatch and combine less permute, send, wait and unpermute
  kSend,
  kWait,
  kUnpermute,
  kExperts,
  kRoute,  ///< before dispatch; only with real experts
  kCount
};
inline constexpr std::size_t kNumPhases = static_cast<std::size_t>(DispatchPhase::kCount);
std::string_view name(DispatchPhase phase);

/// Microseconds of the phases, indexed by phase, rank and repetition; rank 0 alone has them.
struct PhaseTimes {
  EnumArray<DispatchPhase, std::vector<std::vector<double>>, kNumPhases> us;

  std::vector<double> all(DispatchPhase phase) const;      ///< the times of all ranks and repetitions
  std::vector<double> slowest(DispatchPhase phase) const;  ///< the time of the slowest rank in each repetition
  std::vector<double> medians(DispatchPhase phase) const;  ///< the median over the repetitions of each rank
};

/// What was found out about one algorithm; complete on rank 0, except where it says that all have it.
struct DispatchResult {
  PhaseTimes times;
  std::int64_t num_wrong = 0;      ///< rows, all ranks and checked repetitions; all have it
  std::int64_t num_checked = 0;    ///< rows that were checked, counted as num_wrong
  std::string hash;                ///< hash of the hashes of all rows, step after step; all have it
  plan::DispatchTraffic counted;   ///< bytes of dispatch and combine together in `dispatch`, of all steps once
  plan::DispatchTraffic analytic;  ///< the same by the rule, in both parts
  bool bytes_right = true;         ///< all have it
  double overlap_percent = 0;      ///< hidden share of the first step's messages; all have it
  std::optional<PayloadErrors> payload_errors = {};  ///< of the first step, where experts get rounded rows; all have it
};

/// Dispatches the same rows by any algorithm, so that times, bytes and results can be compared. Collective.
class DispatchJob {
 public:
  /// What may be otherwise.
  struct Variant {
    DispatchPayload payload = DispatchPayload::kAct;
    Progress progress = Progress::kPoll;
    GemmLayer* gemm = nullptr;
  };
  /// steps: as many of the source's as are taken in turn. gemm: router and experts of the repetitions, in place of
  /// stand-ins; their rows must be the same for all algorithms.
  DispatchJob(const comm::Communicator& world, const plan::Grid& grid, const Compute& compute, std::vector<int> node_of,
              const RoutingSource& source, std::int64_t num_steps, const Variant& variant);

  struct Repetitions {
    std::int64_t warmup = 5, timed = 20;
    std::int64_t check_every =
        1;  ///< every how many repetitions the result is checked; 0: none. Each step is checked once before them
  };
  /// after(step): called after each timed repetition, outside of its time.
  DispatchResult measure(plan::DispatchAlgorithm algorithm, const Repetitions& repetitions,
                         const std::function<void(std::size_t step)>& after);

  /// The traffic of each step as the rule of the algorithm has it, indexed by step.
  std::vector<plan::DispatchTraffic> traffic(plan::DispatchAlgorithm algorithm) const;

  /// How rows travel.
  plan::RowMessage row_message() const;
  std::int64_t num_rows() const;  ///< rows of all steps together
  std::int64_t num_steps() const { return static_cast<std::int64_t>(steps_.size()); }
  /// What a layer has to move at least, whatever the algorithm: rows to experts and their outputs, of all steps.
  const plan::DispatchTraffic& logical() const { return logical_; }
  /// Terms (row, expert) that each rank computes in all steps.
  const IdVector<plan::StageRank, std::int64_t>& terms() const { return terms_; }
  const plan::Domains& nodes() const { return nodes_; }
  /// The routing of this rank's share of a step's rows.
  moe::HostRouting own_routing(std::size_t step) const;
  const comm::Communicator& world() const { return world_; }
  const plan::Grid& grid() const { return grid_; }
  const Compute& compute() const { return compute_; }

 private:
  struct Step {
    moe::HostRouting routing;  // of all rows
    ModelLayer layer;
    plan::RowMap shared, replicated;  // the same rows by either ownership
    const plan::RowMap& owned(plan::Ownership by) const { return by == plan::Ownership::kShared ? shared : replicated; }
    std::vector<std::int32_t> slots_of(const plan::Grid& grid, const plan::Domains& nodes,
                                       const plan::RowMap& rows) const;
    EnumArray<StandIn, std::vector<Hash128>, 2> expected;  // of all rows
    std::vector<Hash128> gemm_rows;                        // of own share: the first repetition's with real experts
  };
  struct Own;  // of a step and an ownership
  void expect(Step& step, StandIn kind);
  std::int64_t count_wrong(Step& step, Range rows, std::span<const Hash128> hashes, std::optional<StandIn> kind) const;
  std::string hash_of_steps(const std::vector<Hash128>& found) const;
  plan::DispatchTraffic traffic_of(const Step& step, plan::DispatchAlgorithm algorithm) const;
  void gather_counted(const std::vector<std::uint64_t>& own_bytes, DispatchResult& result) const;
  PhaseTimes gather_times(const std::vector<std::array<double, kNumPhases>>& own) const;

  std::unique_ptr<moe::Dispatcher> make(plan::DispatchAlgorithm algorithm, DispatchPayload payload) const;

  const comm::Communicator& world_;
  const plan::Grid& grid_;
  const Compute compute_;
  const Variant variant_;
  const plan::StageRank me_;
  const std::vector<int> node_of_;
  const plan::Domains nodes_;
  const std::size_t active_;
  const StandInExperts experts_;
  std::vector<Step> steps_;
  plan::DispatchTraffic logical_;
  IdVector<plan::StageRank, std::int64_t> terms_;
  moe::ExpertBatch batch_;
};

}  // namespace moesaic::measure
