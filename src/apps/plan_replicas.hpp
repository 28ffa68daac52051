#pragma once

#include <string>

#include "apps/options.hpp"
#include "engine/routing_trace.hpp"

namespace moesaic::apps {

/// --from-trace and what belongs to it.
struct ReplicaOptions {
  std::string trace;  ///< file of --trace-routing; empty: nothing is placed
  std::int64_t replicas = 0;
  std::string file;    ///< that is written; empty: none
  int node_ranks = 0;  ///< 0: all are on one node

  int ranks_per_node(int ranks) const { return node_ranks > 0 ? node_ranks : ranks; }
};
po::options_description replica_options(ReplicaOptions& options);

/// A file of --trace-routing. Error that names the option when it is none, or one of another model.
RoutingTraceFile read_trace(const char* option, const std::string& file, const ModelConfig& config);

/// Plans which experts each subset holds from what routers chose, prints what that saves and costs, and writes the
/// file. machine: as --machine, for the time that experts take.
int print_replicas(const ModelConfig& config, const plan::Arithmetic& arithmetic, const plan::Layout& layout,
                   const ReplicaOptions& options, const std::string& machine, int num_threads, bool as_json);

}  // namespace moesaic::apps
