#include "apps/parse_options.hpp"

#include <iostream>

#include "apps/build.hpp"
#include "apps/options.hpp"
#include "apps/options_markdown.hpp"
#include "apps/shown_command_line.hpp"
#include "base/error.hpp"
#include "base/log.hpp"

namespace moesaic::apps {
namespace {

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
  spdlog::info("{}: {}", build(), shown_command_line(command, arguments));
  spdlog::info("defaults: {}", defaults(options, map));
}

}  // namespace

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
