#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/exit_codes.hpp"

namespace moesaic::apps {

/// One subcommand of the binary. `run` gets the arguments after the command's name; it throws Error for what a user can
/// mend (main prints it once and exits with kRefused).
struct Command {
  const char* name;
  const char* summary;
  bool uses_mpi;  ///< MPI is initialised before `run`, and rank 0 alone prints errors
  int (*run)(const std::vector<std::string>& arguments);
};

/// All subcommands, in the order of `moesaic --help`.
std::span<const Command> commands();

/// Exit code of a batch that is complete: kAllErrors, with a warning, when it has requests and every result is an
/// error.
ExitCode code_of_results(std::int64_t num_requests, std::int64_t num_errors);

int run_convert(const std::vector<std::string>& arguments);
int run_inspect(const std::vector<std::string>& arguments);
int run_synth(const std::vector<std::string>& arguments);
int run_plan(const std::vector<std::string>& arguments);
int run_generate(const std::vector<std::string>& arguments);
int run_chat(const std::vector<std::string>& arguments);
int run_batch(const std::vector<std::string>& arguments);
int run_score(const std::vector<std::string>& arguments);
int run_merge(const std::vector<std::string>& arguments);
int run_logits(const std::vector<std::string>& arguments);
int run_diff(const std::vector<std::string>& arguments);
int run_selftest(const std::vector<std::string>& arguments);
int run_doctor(const std::vector<std::string>& arguments);
int run_calibrate(const std::vector<std::string>& arguments);
int run_bench(const std::vector<std::string>& arguments);
int run_help(const std::vector<std::string>& arguments);

}  // namespace moesaic::apps
