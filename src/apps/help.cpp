#include "apps/help.hpp"

#include <fmt/format.h>

#include <iostream>
#include <string_view>

#include "apps/bench/bench.hpp"
#include "apps/command.hpp"
#include "apps/options.hpp"
#include "apps/options_markdown.hpp"
#include "apps/parse_options.hpp"
#include "comm/mpi.hpp"

namespace moesaic::apps {
namespace {

constexpr const char* kPreface =
    "# Options\n\nAll options of all commands. This page is what `moesaic help --markdown` prints; a test compares "
    "it.\n`moesaic COMMAND --help` prints the same of one command, a run logs the options that it was given and the "
    "defaults\nof the others. An option that is unknown, repeated or out of its range is an error before anything is "
    "loaded.\n";

}  // namespace

std::string usage() {
  std::string text = "usage: moesaic COMMAND [options]; moesaic COMMAND --help explains one\n\n";
  for (const Command& command : commands()) text += fmt::format("  {:<10} {}\n", command.name, command.summary);
  return text;
}

int run_help(const std::vector<std::string>& arguments) {
  po::options_description options("help");
  options.add_options()("markdown", po::bool_switch(), "prints docs/options.md");
  const auto map = parse("help", arguments, options);
  if (map.contains("help") || comm::Communicator::world().rank() != 0) return kSuccess;
  if (!map["markdown"].as<bool>()) return std::cout << usage(), kSuccess;
  std::cout << kPreface;
  for (const Command& command : commands()) {
    if (command.name == std::string_view("bench"))
      for (const char* benchmark : bench::names()) command.run({benchmark, kHelpAsMarkdown});
    else
      command.run({kHelpAsMarkdown});
    if (command.name == std::string_view("plan")) command.run({"--check", kHelpAsMarkdown});
  }
  return kSuccess;
}

}  // namespace moesaic::apps
