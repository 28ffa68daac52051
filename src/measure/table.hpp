#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/mpi.hpp"
#include "ops/kernels.hpp"

namespace moesaic::measure {

enum class OutputFormat { kMarkdown, kJson, kCsv };

/// What the figures of a run were measured on.
struct Testbed {
  std::string cpu;         ///< "AMD EPYC, family 25 model 17"
  std::string hosts;       ///< names of all nodes, with spaces between
  int num_processors = 1;  ///< processors that a rank may use
  int num_ranks = 1;
  ops::Isa isa = ops::Isa::kPortable;
};

/// Collective: describes the node of rank 0, and gathers the names of all hosts there.
Testbed this_testbed(const comm::Communicator& world, ops::Isa isa);

/// One measured thing: keys and values in the order that they are printed in.
using Record = nlohmann::ordered_json;

/// A column of the Markdown table.
struct Column {
  const char* key;    ///< the key of the shown value in a record
  const char* title;  ///< head of the column, with the unit
  int decimals = 0;   ///< digits after the point of a number that is no integer
};

/// The records of a run. Markdown has the machine line and some columns, JSON is a list of all records and
/// CSV a line a record; in these two every record has the machine's facts.
class Table {
 public:
  Table(OutputFormat format, Testbed testbed, std::vector<Column> columns)
      : format_(format), testbed_(std::move(testbed)), columns_(std::move(columns)) {}

  void add(Record record);
  /// The whole table in its format, with an end of line.
  std::string text() const;

 private:
  std::string markdown() const;
  std::string csv() const;

  OutputFormat format_;
  Testbed testbed_;
  std::vector<Column> columns_;
  std::vector<Record> records_;
};

}  // namespace moesaic::measure
