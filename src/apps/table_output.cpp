#include "apps/table_output.hpp"

#include "apps/results.hpp"

namespace moesaic::apps {

using measure::OutputFormat;

po::options_description output_options(OutputFormat& format) {
  const auto take = [&format](const std::string& word) {
    if (word != "md" && word != "json" && word != "csv") fail("--output is '{}', expected md, json or csv", word);
    format = word == "md" ? OutputFormat::kMarkdown : word == "json" ? OutputFormat::kJson : OutputFormat::kCsv;
  };
  po::options_description options("output");
  options.add_options()("output,o", po::value<std::string>()->default_value("md")->notifier(take), "md, json or csv");
  options.add(result_options(OutputOption::kTaken));
  return options;
}

void print(const measure::Table& table) { print(std::string_view(table.text())); }

}  // namespace moesaic::apps
