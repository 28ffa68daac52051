#pragma once

#include <boost/program_options.hpp>
#include <string>

namespace moesaic::apps {

/// The argument with which `moesaic help` asks a command for options_markdown(); nothing else may stand beside it.
inline constexpr const char* kHelpAsMarkdown = "--help-as-markdown";

/// The options of a command as a section of docs/options.md: name, default, meaning.
std::string options_markdown(const std::string& command, const boost::program_options::options_description& options);

}  // namespace moesaic::apps
