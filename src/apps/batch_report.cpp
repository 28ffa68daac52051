#include "apps/batch_report.hpp"

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/trace.hpp"
#include "comm/share.hpp"
#include "host/memory.hpp"
#include "host/node.hpp"

namespace moesaic::apps {
namespace {

/// Least, sum and most of each value over the ranks.
struct Spread {
  std::vector<double> least, sum, most;

  Spread(const comm::Communicator& world, const std::vector<double>& values)
      : least(values), sum(values), most(values) {
    world.reduce(least, MPI_MIN);
    world.reduce(sum, MPI_SUM);
    world.reduce(most, MPI_MAX);
  }
};

nlohmann::json num_ranks_by_host(const comm::Communicator& world) {
  nlohmann::json hosts = nlohmann::json::object();
  for (const std::string& host : comm::gather_texts(world, host::host_name())) {
    nlohmann::json& num_ranks = hosts[host];
    num_ranks = num_ranks.is_null() ? 1 : num_ranks.get<int>() + 1;
  }
  return hosts;
}

}  // namespace

nlohmann::json figures_of_ranks(const comm::Communicator& world) {
  const ZoneTimes& times = zone_times();
  std::vector<double> values(times.seconds.begin(), times.seconds.end());
  values.insert(values.end(), times.calls.begin(), times.calls.end());
  values.push_back(static_cast<double>(host::peak_memory_bytes()));
  const Spread spread(world, values);
  const auto num_ranks = static_cast<double>(world.size());
  nlohmann::json stages = nlohmann::json::object();
  for (std::size_t i = 0; i < kNumZones; ++i)
    if (const double calls = spread.most[kNumZones + i]; calls > 0)
      stages[std::string(name(static_cast<Zone>(i)))] = {{"min_s", spread.least[i]},
                                                         {"mean_s", spread.sum[i] / num_ranks},
                                                         {"max_s", spread.most[i]},
                                                         {"calls", static_cast<std::int64_t>(calls)}};
  const auto bytes = [](double value) { return static_cast<std::int64_t>(value); };
  return {{"ranks", world.size()},
          {"hosts", num_ranks_by_host(world)},
          {"peak_memory_bytes",
           {{"min", bytes(spread.least.back())},
            {"mean", bytes(spread.sum.back() / num_ranks)},
            {"max", bytes(spread.most.back())}}},
          {"stages", stages}};
}

}  // namespace moesaic::apps
