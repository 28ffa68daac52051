#include "batch/batch_run.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "engine/run_hash.hpp"
#include "openai/parse_line.hpp"
#include "openai/record.hpp"

namespace moesaic::batch {

BatchRun::BatchRun(const BatchInput& input, const RunModel& model, ResultFiles& results)
    : input_(input), model_(model), results_(results), reader_(input.path, &input.content) {}

std::optional<GenerationRequest> BatchRun::next() {
  while (!next_sequence_)
    if (!begin_line()) return std::nullopt;
  Ticket& next = *next_sequence_;
  const LineJob& job = jobs_.at(next.index);
  GenerationRequest request = job.sequence(next.sequence);
  request.ticket = next_ticket_++;
  tickets_.emplace(request.ticket, next);
  if (++next.sequence == job.num_sequences()) next_sequence_.reset();
  return request;
}

/// Takes the next line; a bad one becomes a record at once. False: there is none.
bool BatchRun::begin_line() {
  const std::optional<InputLine> line = reader_.next();
  if (!line) return false;
  const std::int64_t index = line->place.index, place = index / input_.shard.count;
  if (index % input_.shard.count != input_.shard.part || results_.finished(place)) return true;
  auto parsed = openai::parse_line(line->text, input_.format, input_.defaults);
  if (const auto* error = std::get_if<openai::LineError>(&parsed)) {
    refuse(*line, place, error->custom_id, error->message);
    return true;
  }
  auto& request = std::get<openai::Request>(parsed);
  for (const std::string& field : request.unknown_fields)
    if (const auto warning = unknown_fields_.warning(field)) spdlog::warn("{}: {}", input_.path, *warning);
  const std::optional<std::string> custom_id = request.custom_id;
  try {
    jobs_.try_emplace(index, model_, index, line->text, std::move(request));
    next_sequence_ = Ticket{index, 0};
  } catch (const Error& error) {
    refuse(*line, place, custom_id, error.what());
  }
  return true;
}

void BatchRun::refuse(const InputLine& line, std::int64_t place, const std::optional<std::string>& custom_id,
                      const std::string& message) {
  const std::string id = openai::record_id(line.place.index, line.text);
  put({place, openai::error_record(id, custom_id, "invalid_request", message), run_hash({}), true}, place);
}

void BatchRun::finish(std::int64_t ticket, const Continuation& result) {
  const auto [index, sequence] = tickets_.extract(ticket).mapped();
  latencies_.add(result);
  jobs_.at(index).finish(sequence, result);
  put_if_done(index);
}

void BatchRun::failed(std::int64_t ticket, const std::string& reason) {
  const std::int64_t index = tickets_.extract(ticket).mapped().index;
  jobs_.at(index).failed(reason);
  put_if_done(index);
}

void BatchRun::put_if_done(std::int64_t index) {
  const LineJob& job = jobs_.at(index);
  if (!job.done()) return;
  put(job.finished(), index / input_.shard.count);
  jobs_.erase(index);
}

void BatchRun::put(Finished finished, std::int64_t place) {
  finished.index = place;
  results_.put(finished);
  ++num_finished_;
}

}  // namespace moesaic::batch
