#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "batch/journal.hpp"
#include "config/model_config.hpp"
#include "engine/event.hpp"
#include "engine/request.hpp"
#include "io/tokenizer.hpp"
#include "openai/record.hpp"

namespace moesaic::batch {

/// The most bytes of text that a token stands for; 0 without a tokenizer.
std::int64_t longest_piece_bytes(const io::Tokenizer* tokenizer);

/// The model of a run, as its lines see it.
struct RunModel {
  const ModelConfig& config;
  const io::Tokenizer* tokenizer;  ///< null: prompts are token ids
  std::string name;                ///< in results of requests that name no model
  std::int64_t most_token_bytes = longest_piece_bytes(tokenizer);
};

/// One line of the input on its way: the sequences that it needs, and its record once they have ended. Sequence k is
/// continuation k % best_of of prompt k / best_of.
class LineJob {
 public:
  /// Error (told in the line's record) when a prompt cannot be encoded or is too long for the model.
  LineJob(const RunModel& model, std::int64_t index, const std::string& line, openai::Request request);

  std::int64_t num_sequences() const { return std::ssize(results_); }
  GenerationRequest sequence(std::int64_t k) const;
  /// Takes the result of sequence k; called once for each sequence that has come to its end.
  void finish(std::int64_t k, const Continuation& result);
  /// Takes the reason why a sequence could not be computed, in place of finish().
  void failed(const std::string& reason);
  bool done() const { return num_left_ == 0; }
  /// Record and hash of the line, once done().
  Finished finished() const;

 private:
  /// The treatment of a prompt that is longer than the context.
  enum class Excess : std::uint8_t { kIsRefused, kIsCut };
  std::vector<std::int32_t> encode_prompt(openai::Prompt& prompt, const std::string& what) const;
  std::vector<std::int32_t> encode(const openai::Prompt& prompt, const std::string& what, Excess excess) const;
  std::vector<std::int32_t> encode_text(const std::string& text, const std::string& what, Excess excess) const;
  bool cannot_fit(const std::string& text) const;
  void encode_loglikelihood();
  const std::vector<std::int32_t>& prompt_of(std::int64_t k) const;
  std::string text_before(const std::vector<std::int32_t>& continuation, std::vector<std::int32_t> prompt) const;
  bool chooses() const { return request_.num_drawn > request_.num_choices; }
  double mean_log_prob(std::int64_t k) const;
  std::vector<std::int64_t> chosen() const;
  openai::Choice choice(std::int64_t k) const;
  openai::TokenScores scores_of(const ScoredToken& token) const;
  openai::ShownToken shown(std::int32_t token) const;
  std::string record() const;

  const RunModel& model_;
  std::int64_t index_;
  std::string id_;
  openai::Request request_;
  std::vector<std::vector<std::int32_t>> prompts_;  // loglikelihood: one, context and continuation
  std::int64_t num_context_ = 0;                    // loglikelihood: tokens before the continuation
  std::int64_t num_cut_ = 0;                        // loglikelihood: tokens that the context has lost at its beginning
  std::optional<std::int32_t> prefix_token_;        // loglikelihood: the token that stands for an empty context
  std::vector<Continuation> results_;               // by sequence
  std::optional<std::string> failure_;              // of a sequence, the first one
  std::int64_t num_left_;
};

}  // namespace moesaic::batch
