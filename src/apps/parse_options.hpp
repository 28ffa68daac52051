#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <vector>

namespace moesaic::apps {

/// Parses options; an unknown or repeated one, a missing or bad value is an Error that names it. With --help prints the
/// description and returns a map with "help" alone. Else logs build and options of a command that needs a --model.
boost::program_options::variables_map parse(
    const std::string& command, const std::vector<std::string>& arguments,
    const boost::program_options::options_description& options,
    const boost::program_options::positional_options_description& positional = {});

}  // namespace moesaic::apps
