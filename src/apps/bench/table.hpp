#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/options.hpp"
#include "comm/mpi.hpp"
#include "ops/kernels.hpp"

namespace moesaic::apps::bench {

enum class OutputFormat { kMarkdown, kJson, kCsv };

/// -o, --output: the format; --output-file.
po::options_description output_options(OutputFormat& format);

/// A comma-separated list of integers in [low, high]; Error names the option.
std::vector<std::int64_t> parse_list(const std::string& text, const char* option, std::int64_t low, std::int64_t high);

/// "AMD EPYC, family 25 model 17".
std::string cpu_name();

/// What a figure was measured on.
struct Machine {
  std::string cpu;  ///< "AMD EPYC, family 25 model 17"
  std::string hosts;
  int num_processors = 1;  ///< that a rank may use
  int num_ranks = 1;
  ops::Isa isa = ops::Isa::kPortable;
};

/// Collective: of rank 0's node, and the names of all hosts.
Machine this_machine(const comm::Communicator& world, ops::Isa isa);

/// One measured thing: keys and values in the order that they are printed in.
using Record = nlohmann::ordered_json;

/// A column of the Markdown table.
struct Column {
  const char* key;    ///< of the record
  const char* title;  ///< with its unit
  int decimals = 0;   ///< of a number that is no integer
};

/// The records of a run. Markdown has the machine line and some columns, JSON is a list of all records and
/// CSV a line a record; in these two every record has the machine's facts.
class Table {
 public:
  Table(OutputFormat format, Machine machine, std::vector<Column> columns)
      : format_(format), machine_(std::move(machine)), columns_(std::move(columns)) {}

  void add(Record record);
  /// To the results.
  void print() const;

 private:
  void print_markdown() const;
  void print_csv() const;

  OutputFormat format_;
  Machine machine_;
  std::vector<Column> columns_;
  std::vector<Record> records_;
};

}  // namespace moesaic::apps::bench
