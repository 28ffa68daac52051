#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/batch_options.hpp"
#include "apps/batch_progress.hpp"
#include "apps/batch_report.hpp"
#include "apps/build.hpp"
#include "apps/command.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "base/units.hpp"
#include "batch/batch_run.hpp"
#include "batch/input_check.hpp"
#include "batch/journal.hpp"
#include "comm/agree.hpp"
#include "engine/driver.hpp"
#include "engine/stage_table.hpp"
#include "host/stop_signals.hpp"
#include "io/mapped_file.hpp"
#include "start/kv_budget.hpp"

namespace moesaic::apps {
namespace {

/// What tells an input from another.
std::string text_of(const batch::FileContent& input) {
  return fmt::format("{} bytes, {} requests, XXH3-128 {}", input.size_bytes, input.num_lines, input.hash.hex());
}

/// XXH3-128 of its index, in which the hashes of all else are.
std::string store_id(const start::Session& session) {
  const std::string index = session.reader().index().serialize();
  return hash_bytes(std::as_bytes(std::span(index))).hex();
}

/// A regular file, or none yet: what can be known again when the batch is continued.
void require_regular(const char* option, const std::string& path) {
  if (path == "-" || (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)))
    fail("--{} {}: is no regular file; a batch needs one, to be continued", option, path);
}

/// What the results depend on.
batch::Identity identity_of(const BatchOptions& options, const start::Session& session, bool needs_later_rules) {
  std::string chat_template = "none";
  if (!options.chat_template.empty())
    chat_template =
        options.chat_template == "plain" ? "plain" : hash_bytes(io::MappedFile(options.chat_template).bytes()).hex();
  batch::Identity identity = {{"input", text_of(options.input.content)},
                              {"format", options.input.format == openai::LineFormat::kJson ? "jsonl" : "text"},
                              {"shard", fmt::format("{}/{}", options.input.shard.part, options.input.shard.count)},
                              {"store", "XXH3-128 of its index " + store_id(session)},
                              {"model name", options.model_name()},
                              {"numerics", session.numeric().text()},
                              {"arithmetic", fmt::format("version {}", kArithmeticVersion)},
                              {"seed", fmt::format("{}", options.input.defaults.seed)},
                              {"chat template", chat_template}};
  // The first journals knew one set of rules alone. Requests that the later ones do not concern have the same results,
  // so a batch of these continues.
  if (needs_later_rules)
    identity.emplace_back(
        "rules of requests",
        "2 (a request's own seed draws without the request's index, loglikelihoods have lm-eval's tokens, "
        "further fields count); only the version of Moesaic that began with others can continue them");
  return identity;
}

/// Rank 0's part of a job; the others take part in the engine's steps alone.
class BatchJob final : public Driver {
 public:
  /// Reads and checks what the options name. Error, and nothing is touched, when the job cannot be done or continued.
  BatchJob(BatchOptions& options, const start::Session& session)
      : options_(options), session_(session), config_(session.config()), limit_(options.output, options.max_time) {
    limit_.check_files();
    require_regular("input", options.input.path);
    require_regular("output", options.output);
    check_writable(options.report, "report",
                   {options.model.store, options.input.path, options.chat_template, options.output,
                    batch::journal_of(options.output)});
    if (std::filesystem::exists(options.output) && std::filesystem::equivalent(options.output, options.input.path))
      fail("--output {}: is the input too; give another name", options.output);
    options.input.format = options.format ? *options.format : batch::guess_format(options.input.path);
    if (!options.chat_template.empty()) chat_template_ = openai::ChatTemplate::load(options.chat_template);
    options.input.defaults.vocab_size = config_.vocab_size;
    options.input.defaults.chat_template = chat_template_ ? &*chat_template_ : nullptr;
    tokenizer_ = session.tokenizer();
    batch::InputCheck check(options.input.format, options.input.defaults);
    options.input.content =
        batch::content_of(options.input.path, [&](const batch::InputLine& line) { check.see(line); });
    check.require_requests(options.input.path);
    warnings_ = check.repeated_ids().warnings(options.input.path);
    num_requests_ = options.input.shard.size(options.input.content.num_lines);
    results_.emplace(options.output, identity_of(options, session, check.needs_later_rules()));
    num_at_start_ = results_->num_finished();
  }

  /// Whether there is a sequence to compute. Lines that are errors become results here, so that no model is loaded
  /// where they are all that is left.
  bool needs_model() {
    if (results_->complete()) return false;
    model_.emplace(batch::RunModel{config_, tokenizer(), options_.model_name()});
    run_.emplace(options_.input, *model_, *results_);
    first_ = run_->next();
    if (!first_) run_->check_input();
    return first_.has_value();
  }
  void print_start() const {
    spdlog::info("batch: {} requests of {} ({}), {} of them finished before; results in {}", num_requests_,
                 options_.input.path, text_of(options_.input.content), num_at_start_, options_.output);
    for (const std::string& warning : warnings_) spdlog::warn("{}", warning);
  }

  /// After needs_model(). engine: outlives this object.
  void start(Engine& engine) {
    engine_ = &engine;
    progress_.emplace(num_requests_, num_at_start_, limit_);
  }
  const io::Tokenizer* tokenizer() const { return tokenizer_ ? &*tokenizer_ : nullptr; }

  bool between_steps() override {
    for (const Event& event : engine_->take_events()) take(event);
    if (const auto reason = limit_.reached()) stopped_by_ = *reason;
    progress_->report(results_->num_finished(), engine_->metrics());
    if (results_->sync_if_due()) run_->check_input();
    if (!stopped_by_.empty()) return false;
    submit_more();
    return engine_->num_under_way() > 0;
  }
  void stop(int signal) override { stopped_by_ = fmt::format("signal {}", signal); }

  /// What there is to say after the last step; the exit code. ranks: figures_of_ranks().
  int end(const std::string& table, const nlohmann::json& ranks) {
    results_->sync();
    run_->check_input();
    print_figures(table);
    const std::int64_t num_left = num_requests_ - results_->num_finished();
    if (num_left > 0) {
      spdlog::info("stopped by {}: {} requests were finished in this start, {} are left; the same command continues",
                   stopped_by_, run_->num_finished(), num_left);
      if (run_->num_finished() == 0)
        spdlog::warn(
            "no progress: not one request came to its end in this start; give it more time, more ranks, or shorter "
            "requests");
    }
    if (num_left == 0) return complete(ranks);
    report(ranks, nullptr);
    return kWorkLeft;
  }

  int complete(const nlohmann::json& ranks) {
    const Hash128 hash = results_->finish(num_requests_);
    spdlog::info("complete: {} results in {}, {} of them errors", num_requests_, options_.output,
                 results_->num_errors());
    spdlog::info("logits hash: {}", hash.hex());
    report(ranks, hash.hex());
    return code_of_results(num_requests_, results_->num_errors());
  }

 private:
  void take(const Event& event) {
    if (const auto* finished = std::get_if<RequestFinished>(&event.what)) run_->finish(event.ticket, finished->result);
    if (const auto* failed = std::get_if<RequestFailed>(&event.what)) run_->failed(event.ticket, failed->reason);
  }
  /// As many sequences as may be under way, but stops after a while: other ranks wait meanwhile, and long texts take
  /// seconds to encode.
  void submit_more() {
    Interval longest{std::chrono::seconds(1)};
    while (engine_->num_under_way() < options_.scheduler.most_sequences &&
           (engine_->num_under_way() == 0 || !longest.due())) {
      auto request = first_ ? std::exchange(first_, std::nullopt) : run_->next();
      if (!request) return;
      engine_->submit(std::move(*request));
    }
  }

  void print_figures(const std::string& table) const {
    const Metrics metrics = engine_->metrics();
    const double seconds = progress_->seconds();
    spdlog::info("{}", table);
    spdlog::info("{}", run_->latencies().table());
    spdlog::info(
        "{} requests in {}: {} prompt tokens ({} of them shared), {} generated; {:.1f} output tokens/s, {:.1f} "
        "tokens/s in all; "
        "{} preemptions",
        run_->num_finished(), readable_time(seconds), metrics.prompt_tokens, metrics.shared_tokens,
        metrics.drawn_tokens, static_cast<double>(metrics.drawn_tokens) / seconds,
        static_cast<double>(metrics.prompt_tokens + metrics.drawn_tokens) / seconds, metrics.num_preempted);
  }

  /// Writes the report, if one was asked for; a job that had nothing to do gets one too.
  void report(const nlohmann::json& ranks, const nlohmann::json& logits_hash) const {
    if (options_.report.empty()) return;
    const Metrics metrics = engine_ ? engine_->metrics() : Metrics{};
    const double seconds = progress_ ? progress_->seconds() : 0;
    const auto per_second = [&](std::int64_t num) { return seconds > 0 ? static_cast<double>(num) / seconds : 0; };
    nlohmann::json report = {{"version", build()},
                             {"store", options_.model.store},
                             {"store_id", store_id(session_)},
                             {"layout", session_.layout().text()},
                             {"numerics", session_.numeric().text()},
                             {"requests", num_requests_},
                             {"finished_before", num_at_start_},
                             {"finished", run_ ? run_->num_finished() : 0},
                             {"left", num_requests_ - results_->num_finished()},
                             {"errors", results_->num_errors()},
                             {"logits_hash", logits_hash},
                             {"seconds", seconds},
                             {"prompt_tokens", metrics.prompt_tokens},
                             {"shared_prompt_tokens", metrics.shared_tokens},
                             {"output_tokens", metrics.drawn_tokens},
                             {"output_tokens_per_s", per_second(metrics.drawn_tokens)},
                             {"total_tokens_per_s", per_second(metrics.prompt_tokens + metrics.drawn_tokens)},
                             {"preemptions", metrics.num_preempted},
                             {"latencies", (run_ ? run_->latencies() : batch::Latencies()).json()}};
    report.update(ranks);
    write_text(options_.report, json_text(report, 2) + "\n");
  }

  BatchOptions& options_;
  const start::Session& session_;
  const ModelConfig& config_;
  StopLimit limit_;
  std::optional<openai::ChatTemplate> chat_template_;
  std::optional<io::Tokenizer> tokenizer_;
  std::int64_t num_requests_ = 0;
  std::optional<batch::ResultFiles> results_;
  std::int64_t num_at_start_ = 0;
  std::optional<batch::RunModel> model_;
  std::optional<batch::BatchRun> run_;
  std::vector<std::string> warnings_;       // about the input as a whole
  std::optional<GenerationRequest> first_;  // that run_ has given out
  Engine* engine_ = nullptr;                // once there is a model
  std::optional<BatchProgress> progress_;
  std::string stopped_by_;
};

/// What the run needs beside the weights, the KV cache within its limit.
plan::Workload workload_of(const start::Session& session, const BatchOptions& options) {
  plan::Workload workload;
  workload.num_sequences = options.scheduler.most_sequences;
  workload.batch_rows = std::max(options.scheduler.batch_rows, options.scheduler.prefill_chunk);
  workload.kv_blocks = start::kv_blocks(session, workload, options.kv_memory_mib);
  return workload;
}

}  // namespace

int run_batch(const std::vector<std::string>& arguments) {
  std::optional<BatchOptions> parsed = parse_batch(arguments);
  if (!parsed) return kSuccess;
  BatchOptions& options = *parsed;
  const host::StopSignals stop_signals;  // from here on they end the run cleanly
  start::Session session(options.model);
  const comm::Communicator& world = session.world();

  const plan::Workload workload = workload_of(session, options);  // may be refused, before any file is made
  options.scheduler.blocks_per_group = workload.kv_blocks;
  std::optional<BatchJob> job;  // rank 0's
  bool is_done = false;
  int code = kSuccess;
  const auto share_code = [&](int code) { return static_cast<int>(world.max(world.rank() == 0 ? code : 0)); };
  comm::on_root(world, [&] {
    job.emplace(options, session);
    job->print_start();
    is_done = !job->needs_model();
  });
  if (share_code(is_done) != 0) {
    const nlohmann::json ranks = figures_of_ranks(world);
    comm::on_root(world, [&] { code = job->complete(ranks); });
    return share_code(code);
  }

  spdlog::info("KV cache: {} blocks of {} tokens for each of {} attention groups, {:.1f} MiB on this rank",
               workload.kv_blocks, kBlockKeys, session.layout().dp,
               static_cast<double>(start::kv_bytes(session, workload.kv_blocks)) / static_cast<double>(kMiB));
  session.load(workload);
  Engine engine(world, session.stage(), options.scheduler, job ? job->tokenizer() : nullptr);
  if (job) job->start(engine);
  run(engine, job ? &*job : nullptr);
  const std::string table = stage_table(world);
  const nlohmann::json ranks = figures_of_ranks(world);
  comm::on_root(world, [&] { code = job->end(table, ranks); });
  return share_code(code);
}

}  // namespace moesaic::apps
