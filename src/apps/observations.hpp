#pragma once

#include <boost/program_options.hpp>
#include <optional>
#include <string>
#include <vector>

#include "config/model_config.hpp"
#include "engine/capture.hpp"
#include "engine/layer_hashes.hpp"
#include "engine/outliers.hpp"
#include "engine/routing_trace.hpp"
#include "io/temporary_file.hpp"

namespace moesaic::apps {

/// What a run may look at beside its results.
struct ObservationOptions {
  std::string hash_file, trace_file;  ///< empty: not written
  bool outliers = false;
};

/// --hash-layers, --trace-routing, --outliers.
boost::program_options::options_description observation_options(ObservationOptions& options);

/// The observers that a run is asked for, and their files.
class Observations {
 public:
  Observations(const ObservationOptions& options, const ModelConfig& config)
      : options_(options), trace_(config), outliers_(config.num_layers) {}

  /// Rank 0's: checks that the files can be written and are none of `others`, and makes room for them.
  void open_files(std::vector<std::string> others);
  void add_to(Probes& probes);
  /// Collective, after the run: what was seen goes to the files, or is said. header: of the file of hashes.
  void publish(const comm::Communicator& world, const std::string& header);

 private:
  const ObservationOptions& options_;
  LayerHashes layer_hashes_;
  RoutingTrace trace_;
  Outliers outliers_;
  std::optional<io::TemporaryFile> hashes_place_, trace_place_;  // rank 0's
};

}  // namespace moesaic::apps
