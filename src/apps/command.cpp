#include "apps/command.hpp"

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

}  // namespace

std::span<const Command> commands() { return kCommands; }

ExitCode code_of_results(std::int64_t num_requests, std::int64_t num_errors) {
  if (num_requests == 0 || num_errors < num_requests) return kSuccess;
  spdlog::warn("every result is an error, so the exit code is {}", static_cast<int>(kAllErrors));
  return kAllErrors;
}

}  // namespace moesaic::apps
