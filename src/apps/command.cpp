#include "apps/command.hpp"

#include <iostream>

#include "apps/build.hpp"
#include "apps/command_line.hpp"
#include "apps/options.hpp"
#include "apps/options_markdown.hpp"
#include "base/error.hpp"
#include "base/log.hpp"

namespace moesaic::apps {
namespace {

constexpr Command kCommands[] = {
    {"convert", "an xAI checkpoint into a store (also under mpirun)", true, run_convert},
    {"inspect", "what a store holds; checks it", false, run_inspect},
    {"synth", "a synthetic store of a reference geometry", false, run_synth},
    {"plan", "who would own what on how many ranks", false, run_plan},
    {"generate", "text from prompts (under mpirun)", true, run_generate},
    {"chat", "a conversation; answers are printed as they are drawn (under mpirun)", true, run_chat},
    {"batch", "results for a file of requests; continues where it was stopped (under mpirun)", true, run_batch},
    {"score", "how probable token lists are (under mpirun)", true, run_score},
    {"merge", "joins the results of a batch's shards", false, run_merge},
    {"logits", "the logits of token lists, to an HDF5 file (under mpirun)", true, run_logits},
    {"diff", "the first layer and operation where two runs differ", false, run_diff},
    {"selftest", "checks this machine and this MPI job (under mpirun)", true, run_selftest},
    {"doctor", "the site: ranks, cores, network, memory, files; names what is wrong", true, run_doctor},
    {"calibrate", "measures this machine for the cost model, to a file (under mpirun)", true, run_calibrate},
    {"bench", "measures machine, kernels, a model or its loading (under mpirun)", true, run_bench},
    {"help", "this list; --markdown: all options of all commands (docs/options.md)", true, run_help},
};

/// Options with a text that is empty: nothing of ours has a use for one (of --prompt and --stop there may be several;
/// they are judged where they are read).
void refuse_empty_texts(const po::variables_map& map) {
  for (const auto& [option, value] : map)
    if (const auto* text = boost::any_cast<std::string>(&value.value()); text && text->empty())
      fail("--{} is empty, expected a value", option);
}

/// The first lines of a run, for commands that cannot do without a model: which program this is, and all its options.
void log_start(const std::string& command, const std::vector<std::string>& arguments,
               const po::options_description& options, const po::variables_map& map) {
  const po::option_description* model = options.find_nothrow("model", false);
  if (!model || !model->semantic()->is_required()) return;
  spdlog::info("{}: {}", build(), command_line(command, arguments));
  spdlog::info("defaults: {}", defaults(options, map));
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

ExitCode code_of_results(std::int64_t num_requests, std::int64_t num_errors) {
  if (num_requests == 0 || num_errors < num_requests) return kSuccess;
  spdlog::warn("every result is an error, so the exit code is {}", static_cast<int>(kAllErrors));
  return kAllErrors;
}

po::variables_map parse(const std::string& command, const std::vector<std::string>& arguments,
                        const po::options_description& options, const po::positional_options_description& positional) {
  po::options_description all;
  all.add(options);
  all.add_options()("help,h", "prints this");
  po::variables_map map;
  if (arguments.size() == 1 && arguments[0] == kHelpAsMarkdown) {
    std::cout << options_markdown(command, options);
    map.emplace("help", po::variable_value());
    return map;
  }
  try {
    po::store(po::command_line_parser(arguments).options(all).positional(positional).style(kOptionStyle).run(), map);
    if (!map.contains("help")) refuse_empty_texts(map), po::notify(map);
  } catch (const po::validation_error& error) {  // texts are judged by us
    fail("{}, expected a number in digits; see moesaic {} --help", error.what(), command);
  } catch (const po::error& error) {
    fail("{}; see moesaic {} --help", error.what(), command);
  }
  if (map.contains("help"))
    std::cout << "moesaic " << command << "\n" << options;
  else
    log_start(command, arguments, options, map);
  return map;
}

}  // namespace moesaic::apps
