#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "batch/latencies.hpp"
#include "batch/line_job.hpp"
#include "batch/line_reader.hpp"
#include "batch/result_files.hpp"
#include "openai/unknown_fields.hpp"

namespace moesaic::batch {

/// Every count-th request of an input, from request `part` on: what one job of an array works on.
struct Shard {
  std::int64_t part = 0, count = 1;

  /// Requests of an input of `num_requests` that are in this shard.
  std::int64_t size(std::int64_t num_requests) const { return (num_requests - part + count - 1) / count; }
};

struct BatchInput {
  std::string path;
  FileContent content;  ///< of the file, which must not change while the batch runs
  openai::LineFormat format = openai::LineFormat::kJson;
  Shard shard;
  openai::RequestDefaults defaults;
};

/// Rank 0's work of a batch: lines become sequences for the engine as it has room for more, and their results records.
class BatchRun {
 public:
  BatchRun(const BatchInput& input, const RunModel& model, ResultFiles& results);

  /// The next sequence that an engine is to answer; nothing: that was the last.
  std::optional<GenerationRequest> next();
  /// Takes the result of the sequence that next() gave with this ticket.
  void finish(std::int64_t ticket, const Continuation& result);
  /// The engine could not take up the sequence; its line's record says so once all its sequences have ended.
  void failed(std::int64_t ticket, const std::string& reason);
  /// Error when the input is not the file that it was. No result is of anything else, whenever that is noticed.
  void check_input() const { reader_.check_unchanged(); }

  std::int64_t num_finished() const { return num_finished_; }  ///< requests, since this start
  const Latencies& latencies() const { return latencies_; }

 private:
  struct Ticket {
    std::int64_t index, sequence;
  };
  bool begin_line();
  void refuse(const InputLine& line, std::int64_t place, const std::optional<std::string>& custom_id,
              const std::string& message);
  void put_if_done(std::int64_t index);
  void put(Finished finished, std::int64_t place);

  const BatchInput& input_;
  const RunModel& model_;
  ResultFiles& results_;
  LineReader reader_;
  std::map<std::int64_t, LineJob> jobs_;    // under way, by index in the input
  std::map<std::int64_t, Ticket> tickets_;  // sequences under way
  std::int64_t next_ticket_ = 0;
  std::optional<Ticket> next_sequence_;  // of the line that was begun last
  openai::UnknownFields unknown_fields_;
  std::int64_t num_finished_ = 0;
  Latencies latencies_;
};

}  // namespace moesaic::batch
