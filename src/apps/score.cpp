#include "apps/command.hpp"

#include <nlohmann/json.hpp>

#include "apps/in_order.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "base/math.hpp"
#include "base/utf8.hpp"
#include "batch/line_reader.hpp"
#include "comm/agree.hpp"
#include "engine/driver.hpp"
#include "engine/run_hash.hpp"
#include "engine/stage_table.hpp"
#include "io/file.hpp"
#include "io/foreign_format.hpp"
#include "io/token_file.hpp"
#include "openai/json_line.hpp"
#include "start/kv_budget.hpp"

namespace moesaic::apps {
namespace {

struct ScoreOptions {
  ModelOptions model;
  std::string token_file, text_file;
  std::int64_t chunk_tokens = 0;
  bool bos = false;
  SchedulerOptions scheduler;
  std::int64_t kv_memory_mib = 0;
};

/// Tokens of which those from `score_from` on are scored.
struct ScoredSequence {
  std::vector<std::int32_t> tokens;
  std::int64_t score_from = 1;

  bool has_scores() const { return score_from < std::ssize(tokens); }
};

/// Whole chunks only, of which the second half but for its first token is scored. bos: takes the place of each first
/// token.
std::vector<ScoredSequence> cut(const std::vector<std::int32_t>& tokens, std::int64_t chunk_tokens,
                                std::optional<std::int32_t> bos) {
  std::vector<ScoredSequence> chunks;
  for (std::int64_t begin = 0; begin + chunk_tokens <= std::ssize(tokens); begin += chunk_tokens) {
    chunks.push_back({{tokens.begin() + begin, tokens.begin() + begin + chunk_tokens}, chunk_tokens / 2 + 1});
    if (bos) chunks.back().tokens.front() = *bos;
  }
  return chunks;
}

std::vector<std::vector<std::int32_t>> read_text(const ScoreOptions& options, const io::Tokenizer* tokenizer) {
  if (!tokenizer)
    fail("{}: has no tokenizer, so it takes --tokens only; convert again with --tokenizer FILE", options.model.store);
  constexpr std::int64_t kLargestText_bytes = std::int64_t{1} << 31;
  if (options.chunk_tokens > 0) {
    const std::string text = io::read_text_file(options.text_file, kLargestText_bytes);
    io::require_text(text, options.text_file);
    if (const auto at = first_invalid_utf8(text))
      fail("{}: is not UTF-8 (byte {}); iconv -t UTF-8 converts it", options.text_file, *at + 1);
    return {tokenizer->encode(text)};
  }
  std::vector<std::vector<std::int32_t>> sequences;
  batch::LineReader reader(options.text_file);
  while (const auto line = reader.next()) {
    try {
      openai::check_text(line->text);
    } catch (const Error& error) {
      fail("{}: line {}: {}", options.text_file, line->place.number, error.what());
    }
    sequences.push_back(tokenizer->encode(line->text));
  }
  return sequences;
}

std::vector<ScoredSequence> read_sequences(const ScoreOptions& options, const start::Session& session) {
  const ModelConfig& config = session.config();
  const std::optional<io::Tokenizer> tokenizer = session.tokenizer();
  const std::string& file = options.text_file.empty() ? options.token_file : options.text_file;
  const std::optional<std::int32_t> bos = options.bos ? std::optional(config.bos_token) : std::nullopt;
  std::vector<ScoredSequence> sequences;
  for (auto& tokens : options.text_file.empty() ? io::read_token_file(file, {config.vocab_size, {}})
                                                : read_text(options, tokenizer ? &*tokenizer : nullptr)) {
    if (bos) tokens.insert(tokens.begin(), *bos);
    if (options.chunk_tokens > 0) {
      auto chunks = cut(tokens, options.chunk_tokens, bos);
      std::move(chunks.begin(), chunks.end(), std::back_inserter(sequences));
    } else {
      sequences.push_back({std::move(tokens), 1});
    }
  }
  if (sequences.empty())
    fail("{}: has nothing to score{}", file,
         options.chunk_tokens > 0 ? fmt::format(": fewer than {} tokens, see --chunk", options.chunk_tokens) : "");
  for (std::size_t i = 0; i < sequences.size(); ++i)
    if (std::ssize(sequences[i].tokens) > config.sequence_len + 1)
      fail("{}: sequence {} has {} tokens, the model's context is {}; cut it with --chunk", file, i,
           sequences[i].tokens.size(), config.sequence_len);
  return sequences;
}

/// One JSON line a sequence, in input order.
class ScoreOutput {
 public:
  explicit ScoreOutput(const std::vector<ScoredSequence>& sequences) : hashes_(sequences.size()) {
    Continuation nothing;
    nothing.logits_hash = Hasher().digest();
    for (std::size_t i = 0; i < sequences.size(); ++i)
      if (!sequences[i].has_scores()) finish(static_cast<std::int64_t>(i), nothing);
  }

  void finish(std::int64_t index, const Continuation& result) {
    double sum = 0;
    for (const ScoredToken& token : result.prompt_scores) sum += token.log_prob;
    const std::int64_t num = std::ssize(result.prompt_scores);
    hashes_[static_cast<std::size_t>(index)] = result.logits_hash;
    nlohmann::ordered_json line = {{"index", index}, {"logprob", sum}, {"tokens", num}, {"perplexity", nullptr}};
    if (num > 0) line["perplexity"] = perplexity(sum, num);
    line["hash"] = result.logits_hash.hex();
    scores_.put(index, {json_text(line) + "\n", sum, num}, [this](const Score& score) {
      put(score.line);
      sum_ += score.sum;
      num_ += score.num;
    });
  }

  void print_total() const {
    if (num_ > 0)
      spdlog::info("{} tokens of {} sequences: log-probability {:.6f}, perplexity {:.6f}", num_, hashes_.size(), sum_,
                   perplexity(sum_, num_));
    spdlog::info("scores hash: {}", run_hash(hashes_).hex());
  }

 private:
  static double perplexity(double sum, std::int64_t num) {
    return 1 / math::clamped_exp_f64(sum / static_cast<double>(num));
  }
  struct Score {
    std::string line;
    double sum;
    std::int64_t num;
  };
  std::vector<Hash128> hashes_;
  InOrder<Score> scores_;
  std::int64_t num_ = 0;
  double sum_ = 0;
};

/// A request for each sequence that has scores, and the sequence of each.
struct ScoreRequests {
  std::vector<GenerationRequest> requests;
  std::vector<std::int64_t> sequence_of;  ///< by ticket
};
ScoreRequests requests_for(std::vector<ScoredSequence> sequences) {
  ScoreRequests all;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    if (!sequences[i].has_scores()) continue;
    GenerationRequest& request = all.requests.emplace_back();
    request.max_tokens = 0;
    request.score_from = sequences[i].score_from;
    request.prompt = std::move(sequences[i].tokens);
    all.sequence_of.push_back(static_cast<std::int64_t>(i));
  }
  return all;
}

std::optional<ScoreOptions> parse_score(const std::vector<std::string>& arguments) {
  ScoreOptions score;
  score.scheduler.most_sequences = 64;
  po::options_description options, more("what is scored");
  // clang-format off
  more.add_options()
      ("tokens", po::value(&score.token_file), "a JSON list of token lists")
      ("text", po::value(&score.text_file), "a text: each line that is not blank is a sequence; with --chunk all of it is one")
      ("chunk", ranged(&score.chunk_tokens, "chunk", std::int64_t{4}, std::int64_t{1} << 24),
       "cuts into sequences of so many tokens and scores the second half of each but for its first token; a rest is left out")
       ("bos", po::bool_switch(&score.bos), "the begin token goes before each sequence, and with --chunk takes the place of each chunk's first token");
  // clang-format on
  options.add(model_options(score.model))
      .add(more)
      .add(kv_options(score.kv_memory_mib))
      .add(run_options(score.scheduler.prefill_chunk))
      .add(overlap_options(score.scheduler.overlap_rows))
      .add(wait_options())
      .add(result_options());
  if (parse("score", arguments, options).contains("help")) return std::nullopt;
  if (score.token_file.empty() == score.text_file.empty()) fail("give one of --tokens and --text");
  return score;
}

}  // namespace

int run_score(const std::vector<std::string>& arguments) {
  std::optional<ScoreOptions> parsed = parse_score(arguments);
  if (!parsed) return kSuccess;
  ScoreOptions& options = *parsed;
  start::Session session(options.model);
  const comm::Communicator& world = session.world();

  std::vector<ScoredSequence> sequences;  // rank 0's, like all but the engine
  plan::Workload workload;
  comm::on_root(world, [&] {
    open_results({options.model.store, options.token_file, options.text_file});
    sequences = read_sequences(options, session);
    std::int64_t longest = 0;
    for (const ScoredSequence& sequence : sequences) longest = std::max(longest, std::ssize(sequence.tokens));
    workload.num_sequences = std::min(options.scheduler.most_sequences, std::ssize(sequences));
    workload.context = std::min(longest, session.config().sequence_len);
    const std::int64_t chunk = options.scheduler.prefill_chunk > 0 ? options.scheduler.prefill_chunk : longest;
    workload.batch_rows = std::max(options.scheduler.batch_rows, std::min(chunk, longest));
  });
  workload.kv_blocks = start::kv_blocks(session, workload, options.kv_memory_mib);
  session.load(workload);

  options.scheduler.blocks_per_group = workload.kv_blocks;
  Engine engine(world, session.stage(), options.scheduler);
  std::optional<ScoreOutput> output;
  ScoreRequests asked;
  comm::on_root(world, [&] {
    output.emplace(sequences);
    asked = requests_for(std::move(sequences));
  });
  answer(engine, std::move(asked.requests), [&](const Event& event) {
    if (const auto* finished = std::get_if<RequestFinished>(&event.what))
      output->finish(asked.sequence_of[static_cast<std::size_t>(event.ticket)], finished->result);
  });
  const std::string table = stage_table(world);
  comm::on_root(world, [&] {
    spdlog::info("{}", table);
    output->print_total();
  });
  return kSuccess;
}

}  // namespace moesaic::apps
