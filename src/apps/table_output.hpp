#pragma once

#include "apps/options.hpp"
#include "measure/table.hpp"

namespace moesaic::apps {

/// The options of a command that prints a table: -o, --output for its format, and --output-file.
po::options_description output_options(measure::OutputFormat& format);

/// Prints the table to the results of the command; on rank 0 alone.
void print(const measure::Table& table);

}  // namespace moesaic::apps
