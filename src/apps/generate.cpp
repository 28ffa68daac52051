#include "apps/command.hpp"

#include <nlohmann/json.hpp>

#include "apps/in_order.hpp"
#include "apps/options.hpp"
#include "apps/prompts.hpp"
#include "apps/results.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "comm/agree.hpp"
#include "engine/capture.hpp"
#include "engine/generation.hpp"
#include "engine/layer_hashes.hpp"
#include "engine/routing_trace.hpp"
#include "engine/stage_table.hpp"
#include "io/temporary_file.hpp"

namespace moesaic::apps {
namespace {

/// One prompt: its text as it comes. Several: a JSON line each, in input order.
class Output {
 public:
  Output(std::size_t num_prompts, bool has_text) : hashes_(num_prompts), has_text_(has_text) {}

  Generation::Events events() {
    return {.text =
                [this](std::int64_t, const std::string& text) {
                  if (single()) put(text);
                },
            .finish = [this](std::int64_t index, const Continuation& result) { finish(index, result); },
            .before_step = {},
            .stopped = {}};
  }
  Hash128 logits_hash() const { return run_hash(hashes_); }

 private:
  bool single() const { return hashes_.size() == 1; }

  void finish(std::int64_t index, const Continuation& result) {
    hashes_[static_cast<std::size_t>(index)] = result.logits_hash;
    if (single() && has_text_) return put("\n");
    nlohmann::ordered_json line = {{"index", index},
                                   {"text", has_text_ ? nlohmann::ordered_json(result.text) : nullptr},
                                   {"tokens", result.tokens},
                                   {"finish_reason", name(result.finish_reason)}};
    lines_.put(index, json_text(line) + "\n", [](const std::string& text) { put(text); });
  }

  std::vector<Hash128> hashes_;  // of each prompt
  bool has_text_;
  InOrder<std::string> lines_;
};

/// The prompts, all asked for in the same way.
Generation::Source requests(const std::vector<std::vector<std::int32_t>>& prompts, const GenerationRequest& model) {
  return [&prompts, model, next = std::size_t{0}]() mutable -> std::optional<GenerationRequest> {
    if (next == prompts.size()) return std::nullopt;
    GenerationRequest request = model;
    request.ticket = static_cast<std::int64_t>(next);
    request.draw_sequence = next;
    request.prompt = prompts[next++];
    return request;
  };
}

void print_report(const Generation& generation, const Output& output, const std::string& table) {
  const auto rates = generation.rates();
  spdlog::info("{} prompt tokens, {} generated; prefill {:.1f} tokens/s, decode {:.1f} tokens/s", rates.prompt_tokens,
               rates.drawn_tokens, rates.prefill_tokens_per_s, rates.decode_tokens_per_s);
  spdlog::info("{}", table);
  spdlog::info("logits hash: {}", output.logits_hash().hex());
}

}  // namespace

int run_generate(const std::vector<std::string>& arguments) {
  ModelOptions model;
  PromptOptions prompt;
  GenerationRequest generation;
  SchedulerOptions scheduler;
  std::string hash_file, trace_file;
  po::options_description options;
  options.add(model_options(model)).add(prompt_options(prompt)).add(sampling_options(generation.sampling));
  options.add(run_options(scheduler.prefill_chunk))
      .add(overlap_options(scheduler.overlap_rows))
      .add(wait_options())
      .add(result_options());
  po::options_description more("generation");
  // clang-format off
  more.add_options()
      ("max-tokens", ranged(&generation.max_tokens, "max-tokens", std::int64_t{1}, std::int64_t{1} << 40)->default_value(64),
       "most tokens drawn for a prompt")
      ("stop", po::value(&generation.stop_strings), "text that ends a continuation and is not part of it; may be repeated")
      ("ignore-eos", po::bool_switch(&generation.ignore_eos), "go on after the end token")
      ("hash-layers", po::value(&hash_file), "writes one hash for each (sequence, layer, operation) to this file")
      ("trace-routing", po::value(&trace_file), "writes each row's experts and gates, layer by layer, to this HDF5 file; "
       "bench dispatch --replay takes it");
  // clang-format on
  options.add(more);
  const auto map = parse("generate", arguments, options);
  if (map.contains("help")) return kSuccess;
  check(prompt);
  check_stop_strings(generation.stop_strings);

  start::Session session(model);
  const comm::Communicator& world = session.world();
  const ModelConfig& config = session.config();

  std::optional<io::Tokenizer> tokenizer;
  std::vector<std::vector<std::int32_t>> prompts;
  plan::Workload workload;
  std::optional<io::TemporaryFile> hashes, trace_place;  // rank 0's
  comm::on_root(world, [&] {
    check_writable(hash_file, "hash-layers", {model.store, prompt.prompt_file, prompt.token_file, trace_file});
    check_writable(trace_file, "trace-routing", {model.store, prompt.prompt_file, prompt.token_file});
    open_results({model.store, prompt.prompt_file, prompt.token_file, hash_file, trace_file});
    if (!trace_file.empty()) trace_place.emplace(trace_file);
    if (!hash_file.empty()) hashes.emplace(hash_file);
    tokenizer = session.tokenizer();
    prompts = read_prompts(prompt, config, tokenizer ? &*tokenizer : nullptr, model.store);
    workload = start::workload_of(prompts, generation.max_tokens, scheduler.prefill_chunk, config);
  });
  session.load(workload);

  LayerHashes layer_hashes;
  RoutingTrace trace(config);
  Probes probes;
  if (!hash_file.empty()) probes.add(&layer_hashes);
  if (!trace_file.empty()) probes.add(&trace);
  if (!probes.empty()) session.stage().watch(&probes);
  std::optional<Output> output;
  std::optional<Generation> driver;
  if (world.rank() == 0) {
    output.emplace(prompts.size(), tokenizer.has_value());
    scheduler.for_layout(session.layout());
    scheduler.share_prefixes = probes.empty();  // they see every token of every prompt
    driver.emplace(config, scheduler, tokenizer ? &*tokenizer : nullptr, requests(prompts, generation),
                   output->events());
  }
  run(world, session.stage(), driver ? &*driver : nullptr);
  if (!hash_file.empty()) layer_hashes.publish(world, hashes, fmt::format("generate {}", session.numeric().text()));
  if (!trace_file.empty()) trace.publish(world, trace_place);
  const std::string table = stage_table(world);
  if (driver) print_report(*driver, *output, table);
  return kSuccess;
}

}  // namespace moesaic::apps
