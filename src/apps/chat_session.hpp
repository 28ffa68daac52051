#pragma once

#include <map>
#include <optional>
#include <string>

#include "apps/line_input.hpp"
#include "apps/options.hpp"
#include "engine/driver.hpp"
#include "openai/conversation.hpp"

namespace moesaic::apps {

/// Options that /set can change in a session: those of sampling and --max-tokens.
po::options_description answer_options(GenerationRequest& answer);

/// Rank 0's side of a chat: reads lines, does commands, asks for answers and prints them. Answers go to standard
/// output, all else to standard error.
class ChatSession final : public Driver {
 public:
  struct Options {
    openai::ChatTemplate form = openai::ChatTemplate::plain();
    bool raw = false;  ///< answers go on behind what was written, without a space or line end between
    GenerationRequest answer;
    std::map<std::string, std::string> settings;  ///< of answer_options(), as text
    std::string store;
  };
  /// tokenizer, engine: outlive this object.
  ChatSession(Options options, const ModelConfig& config, const io::Tokenizer& tokenizer, Engine& engine);

  void set_system(const std::string& text) { conversation_.set_system(text); }
  std::string stats() const;
  bool between_steps() override;
  void stop(int signal) override;

 private:
  void await_line();
  void take_line(const std::string& line);
  void command(const std::string& line);
  void ask(const std::optional<std::string>& text);
  void retry();
  void set(const std::string& assignment);
  void save(const std::string& file);
  void load(const std::string& file);
  void finish(const RequestFinished& finished);

  Options options_;
  const ModelConfig& config_;
  const io::Tokenizer& tokenizer_;
  openai::Conversation conversation_;
  LineInput input_;
  std::string line_;  // its parts so far: a backslash at a line's end goes on with the next one
  std::string saved_file_;
  bool prompted_ = false;
  bool input_ended_ = false;  // the session ends once the last answer has
  bool stopped_ = false;      // the session ends now
  bool answering_ = false;
  std::int64_t num_answers_ = 0;
  Engine& engine_;
};

}  // namespace moesaic::apps
