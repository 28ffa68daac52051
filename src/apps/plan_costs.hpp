#pragma once

#include <string>
#include <vector>

#include "apps/options.hpp"
#include "plan/cost_model.hpp"
#include "plan/placement_file.hpp"
#include "plan/planner.hpp"

/// What `moesaic plan` says of time: predictions for all layouts, and predictions against measurements.
namespace moesaic::apps {

/// --machine and what is to be predicted.
struct CostOptions {
  std::string machine;  ///< empty: nothing is predicted
  std::string phase = "decode";
  std::int64_t batch = 1;  ///< sequences at a time
  int nodes = 0;           ///< 0: as many ranks a node as the machine has
  int num_threads = 0;     ///< of a rank; 0: the machine's first
  int most_layouts = 20;
  std::string output = "md";
  std::string routing;  ///< file of --trace-routing; empty: uniform
};
po::options_description cost_options(CostOptions& options);

/// --routing.
po::options_description routing_options(std::string& file);
/// What is recorded in the file of --routing; nothing without one.
plan::RecordedRouting recorded_routing(const std::string& file, const ModelConfig& config);

/// Prints the layouts of the request that can have the copies of experts, the least predicted time first.
int print_costs(const ModelConfig& config, const plan::Arithmetic& arithmetic, const plan::LayoutRequest& request,
                const plan::PlacementRequest& copies, const plan::Workload& workload, const CostOptions& options);

/// Whether these arguments of `plan` ask for measurements, which need MPI.
bool asks_for_check(const std::vector<std::string>& arguments);

/// `plan --check`: runs layouts of this job's rank count and compares with what is predicted for them.
int run_plan_check(const std::vector<std::string>& arguments);

}  // namespace moesaic::apps
