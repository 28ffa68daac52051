#include "apps/observations.hpp"

#include "apps/options.hpp"
#include "base/log.hpp"

namespace moesaic::apps {

boost::program_options::options_description observation_options(ObservationOptions& options) {
  namespace po = boost::program_options;
  po::options_description description("observation");
  // clang-format off
  description.add_options()
      ("hash-layers", po::value(&options.hash_file), "writes one hash for each (sequence, layer, operation) to this file")
      ("trace-routing", po::value(&options.trace_file), "writes each row's experts and gates, layer by layer, to this HDF5 file; "
       "bench dispatch --replay takes it")
      ("outliers", po::bool_switch(&options.outliers), "says, by layer, how far the largest value of a normalised row stands out, "
       "which 16-bit integers with one scale a row must fear (w8i16)");
  // clang-format on
  return description;
}

void Observations::open_files(std::vector<std::string> others) {
  check_writable(options_.hash_file, "hash-layers", others);
  others.push_back(options_.hash_file);
  check_writable(options_.trace_file, "trace-routing", others);
  if (!options_.hash_file.empty()) hashes_place_.emplace(options_.hash_file);
  if (!options_.trace_file.empty()) trace_place_.emplace(options_.trace_file);
}

void Observations::add_to(Probes& probes) {
  if (!options_.hash_file.empty()) probes.add(&layer_hashes_);
  if (!options_.trace_file.empty()) probes.add(&trace_);
  if (options_.outliers) probes.add(&outliers_);
}

void Observations::publish(const comm::Communicator& world, const std::string& header) {
  if (!options_.hash_file.empty()) layer_hashes_.publish(world, hashes_place_, header);
  if (!options_.trace_file.empty()) trace_.publish(world, trace_place_);
  if (!options_.outliers) return;
  const Outliers::Report report = outliers_.report(world);
  if (world.rank() != 0) return;
  spdlog::info("{}", report.table);
  for (const std::string& warning : report.warnings) spdlog::warn("{}", warning);
}

}  // namespace moesaic::apps
