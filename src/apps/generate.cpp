#include "apps/command.hpp"

#include <nlohmann/json.hpp>

#include "apps/in_order.hpp"
#include "apps/observations.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/prompts.hpp"
#include "apps/results.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "comm/agree.hpp"
#include "engine/capture.hpp"
#include "engine/driver.hpp"
#include "engine/run_hash.hpp"
#include "engine/stage_table.hpp"
#include "io/temporary_file.hpp"

namespace moesaic::apps {
namespace {

/// One prompt: its text as it comes. Several: a JSON line each, in input order.
class Output {
 public:
  Output(std::size_t num_prompts, bool has_text) : hashes_(num_prompts), has_text_(has_text) {}

  void take(const Event& event) {
    if (const auto* added = std::get_if<TokenAdded>(&event.what)) put(added->text);
    if (const auto* finished = std::get_if<RequestFinished>(&event.what)) finish(event.ticket, *finished);
  }
  Hash128 logits_hash() const { return run_hash(hashes_); }

 private:
  void finish(std::int64_t index, const RequestFinished& finished) {
    const Continuation& result = finished.result;
    hashes_[static_cast<std::size_t>(index)] = result.logits_hash;
    if (hashes_.size() == 1 && has_text_) return put(finished.last_text + "\n");
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

/// The prompts, all asked for in the same way; the text of a single one is shown as it comes.
std::vector<GenerationRequest> requests(const std::vector<std::vector<std::int32_t>>& prompts,
                                        const GenerationRequest& model) {
  std::vector<GenerationRequest> requests(prompts.size(), model);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    requests[i].draw_sequence = i;
    requests[i].prompt = prompts[i];
    requests[i].streams = prompts.size() == 1;
  }
  return requests;
}

void print_report(const Metrics& metrics, const Output& output, const std::string& table) {
  spdlog::info("{} prompt tokens, {} generated; prefill {:.1f} tokens/s, decode {:.1f} tokens/s", metrics.prompt_tokens,
               metrics.drawn_tokens, metrics.prefill.tokens_per_s(), metrics.decode.tokens_per_s());
  spdlog::info("{}", table);
  spdlog::info("logits hash: {}", output.logits_hash().hex());
}

}  // namespace

int run_generate(const std::vector<std::string>& arguments) {
  ModelOptions model;
  PromptOptions prompt;
  GenerationRequest generation;
  SchedulerOptions scheduler;
  ObservationOptions observed;
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
      ("ignore-eos", po::bool_switch(&generation.ignore_eos), "go on after the end token");
  // clang-format on
  options.add(more).add(observation_options(observed));
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
  Observations observations(observed, config);
  comm::on_root(world, [&] {
    observations.open_files({model.store, prompt.prompt_file, prompt.token_file});
    open_results({model.store, prompt.prompt_file, prompt.token_file, observed.hash_file, observed.trace_file});
    tokenizer = session.tokenizer();
    prompts = read_prompts(prompt, config, tokenizer ? &*tokenizer : nullptr, model.store);
    workload = start::workload_of(prompts, generation.max_tokens, scheduler.prefill_chunk, config);
  });
  session.load(workload);

  Probes probes;
  observations.add_to(probes);
  if (!probes.empty()) session.stage().watch(&probes);
  scheduler.share_prefixes = probes.empty();  // they see every token of every prompt
  Engine engine(world, session.stage(), scheduler, tokenizer ? &*tokenizer : nullptr);
  Output output(prompts.size(), tokenizer.has_value());
  answer(engine, requests(prompts, generation), [&](const Event& event) { output.take(event); });
  observations.publish(world, fmt::format("generate {}", session.numeric().text()));
  const std::string table = stage_table(world);
  if (session.is_root()) print_report(engine.metrics(), output, table);
  return kSuccess;
}

}  // namespace moesaic::apps
