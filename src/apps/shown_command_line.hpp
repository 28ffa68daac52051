#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <vector>

namespace moesaic::apps {

/// A command as it was given, for a shell: "generate --model 'a b.h5' --prompt '...'". What a user says to the model
/// (--prompt, --stop, --system) is not shown.
std::string shown_command_line(const std::string& command, const std::vector<std::string>& arguments);

/// The command for comparing it between ranks: a hash stands for each text.
std::string distinct_command_line(const std::string& command, const std::vector<std::string>& arguments);

/// The options that were not given and have a default, with it: "--isa auto --threads 0".
std::string defaults(const boost::program_options::options_description& options,
                     const boost::program_options::variables_map& map);

/// The value of an option as it can be given: a text, a number, or nothing for a switch.
std::string text_of(const boost::any& value);

}  // namespace moesaic::apps
