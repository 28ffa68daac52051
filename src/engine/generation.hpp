#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "engine/event.hpp"
#include "engine/metrics.hpp"
#include "engine/request.hpp"
#include "engine/scheduler.hpp"
#include "engine/shared_queue.hpp"
#include "engine/text_stream.hpp"
#include "model/head.hpp"

namespace moesaic {

/// A row of logits (V) of a request's sequence, as it is computed; of a sequence in ascending position. For files of
/// logits: it runs inside the step, as probes do.
using LogitsProbe = std::function<void(std::int64_t ticket, std::int32_t position, std::span<const float> logits)>;

/// Rank 0's half of the engine: turns requests into steps, and logits into tokens and events. Knows no MPI. submit(),
/// cancel(), take_events() and metrics() may be called by any thread, the others by the one that steps.
class Generation {
 public:
  /// tokenizer: outlives this object; null gives no text.
  Generation(const ModelConfig& config, const SchedulerOptions& options, const io::Tokenizer* tokenizer,
             LogitsProbe probe = {});

  /// std::logic_error when a request of the same ticket has not come to its end.
  void submit(GenerationRequest request);
  /// The request ends at the next step with what has been drawn for it; nothing happens when it has ended already.
  void cancel(std::int64_t ticket) { inbox_.push(Cancellation{ticket}); }
  std::vector<Event> take_events() { return events_.take_all(); }
  Metrics metrics() const;

  /// Requests and cancellations that have not come to their end.
  std::int64_t num_under_way() const;

  /// Takes up what has come, and says what passes next; without batches there is nothing to do.
  Step next();
  /// Drops what is under way without an event: the last step, which gives up all blocks.
  Step last();
  /// Take the results of a batch's rows from the head; the arguments are those of HeadSink.
  void take_logits(const TokenBatch& batch, std::span<const std::int32_t> rows, const float* logits);
  void take_scores(const TokenBatch& batch, std::span<const std::int32_t> rows, std::span<const RowScore> scores);
  /// Called after all batches of a step: counts its time.
  void finish_step();

 private:
  using Clock = std::chrono::steady_clock;
  struct Cancellation {
    std::int64_t ticket;
  };
  struct Live {
    Live(GenerationRequest asked, std::int32_t eos_token, const io::Tokenizer* tokenizer);
    GenerationRequest request;
    std::vector<std::int32_t> banned;  // before min_tokens are drawn: the end token and stop_tokens, ascending
    Continuation result;
    TextStream stream;
    Hasher logits;
    std::int64_t num_passed = 0;  // tokens of the prompt, each counted once however often it passes
    Clock::time_point start = Clock::now(), last_token = start;

    bool in_prompt(std::int64_t position) const { return position + 1 < std::ssize(request.prompt); }
    std::int64_t num_drawn() const { return std::ssize(result.tokens); }
  };
  /// Result of one row of logits: the drawn token, or the prompt's next one, and how probable it is.
  struct RowResult {
    std::int32_t token = 0;
    std::optional<ScoredToken> score;
  };
  void take_inbox();
  void tell_end(Event event);
  void cancel_now(std::int64_t ticket);
  void take_up(GenerationRequest request);
  std::optional<std::string> refusal(const GenerationRequest& request) const;
  std::int32_t choose_token(const Live& live, SequenceId sequence, std::span<const float> logits) const;
  RowResult evaluate(const Live& live, SequenceId sequence, std::int64_t position, std::span<const float> logits) const;
  void begin_step(const Step& step);
  void count_passed(Live& live, std::int64_t num_tokens);
  void append(SequenceId sequence, Live& live, RowResult row);
  void finish(SequenceId sequence, FinishReason reason);
  void publish_metrics();

  ModelConfig config_;
  SchedulerOptions options_;
  Scheduler scheduler_;
  const io::Tokenizer* tokenizer_;
  LogitsProbe probe_;
  SharedQueue<std::variant<GenerationRequest, Cancellation>> inbox_;
  SharedQueue<Event> events_;
  std::deque<GenerationRequest> backlog_;  // requests that wait until fewer are live
  std::unordered_map<SequenceId, Live> live_;
  std::vector<RowResult> row_results_;  // of the rows that take_logits() has in hand
  std::vector<std::size_t> runs_;       // where rows of another sequence begin

  Metrics metrics_;
  Metrics::Phase* phase_ = nullptr;  // of the step in hand
  Clock::time_point step_start_;
  mutable std::mutex shared_mutex_;           // of what any thread reads or changes:
  std::unordered_set<std::int64_t> tickets_;  // of requests that have not come to their end
  Metrics published_;
};

}  // namespace moesaic
