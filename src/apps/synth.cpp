#include "apps/command.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "base/error.hpp"
#include "base/out_of_memory.hpp"
#include "config/grok1.hpp"
#include "host/thread_count.hpp"
#include "synthetic/synthesize.hpp"

namespace moesaic::apps {

int run_synth(const std::vector<std::string>& arguments) {
  converters::SynthesizeOptions synth;
  std::int64_t num_layers = 0;
  po::options_description options("synth --preset NAME --out FILE");
  // clang-format off
  options.add_options()
      ("preset", po::value(&synth.name)->required(), "tiny (0.002 GB), mini (1.4 GB) or slice (Grok-1's dimensions, 2 layers, 11 GB)")
      ("out", po::value(&synth.out)->required(), "the store to write")
      ("seed", seed(&synth.seed, "1"), "of the random numbers, 0 to 2^64-1")
      ("layers", po::value(&num_layers), "another number of layers than the preset's")
      ("threads", po::value(&synth.num_threads)->default_value(0), "threads; 0: chosen. The result does not depend on it")
      ("force", po::bool_switch(&synth.force), "replace an existing store");
  // clang-format on
  const auto given = parse("synth", arguments, options);
  if (given.contains("help")) return kSuccess;
  const MemoryPurpose purpose("the pieces in the making; fewer --threads take less");
  const auto config = preset(synth.name);
  if (!config) fail("--preset is '{}', expected tiny, mini or slice", synth.name);
  synth.config = *config;
  if (given.contains("layers")) synth.config.num_layers = num_layers;
  if (synth.num_threads < 0 || synth.num_threads > 4096) fail("--threads is {}, expected 0 to 4096", synth.num_threads);
  if (synth.num_threads == 0) synth.num_threads = host::threads_alone();
  converters::synthesize(synth);
  return kSuccess;
}

}  // namespace moesaic::apps
