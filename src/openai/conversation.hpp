#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "openai/chat_template.hpp"

namespace moesaic::openai {

/// A chat: its messages, and the prompt that they make. The system's message, if there is one, comes first and stays;
/// a turn is a user's message with the answer, or an answer alone that goes on.
class Conversation {
 public:
  explicit Conversation(ChatTemplate form) : form_(std::move(form)) {}

  /// Empty: none. Error when the template has no such role.
  void set_system(const std::string& text);
  void add_user(const std::string& text) { messages_.push_back({"user", text}); }
  void add_answer(const std::string& text) { messages_.push_back({"assistant", text}); }
  /// Takes back what was added last, up to a user's message. False: there is none.
  bool undo();
  /// Takes back the last answer. False: the last message is none.
  bool drop_answer();
  /// All but the system's message.
  void reset();

  const std::vector<Message>& messages() const { return messages_; }
  bool empty() const { return messages_.size() == num_system(); }

  struct Prompt {
    std::vector<std::int32_t> tokens;
    std::size_t num_left_out = 0;  ///< messages, more than the time before
  };
  using Encode = std::function<std::vector<std::int32_t>(const std::string&)>;
  /// The prompt, of at most most_tokens. Where that is too few the oldest turns are left out from now on, to three
  /// quarters of it: each time that the beginning changes everything has to pass the model again. Error when the last
  /// turn alone is too long, or the template does not know a role.
  Prompt prompt(const Encode& encode, std::int64_t most_tokens);

  /// One line of JSON, {"messages": [...]}, which is a request of a batch too.
  std::string json() const;
  /// Replaces the messages by those of such a text. Error, and nothing changes, when it is none, or has a role that the
  /// template does not know.
  void load(const std::string& text, const std::string& source);

 private:
  void take_back_if_empty();
  std::size_t num_system() const { return !messages_.empty() && messages_.front().role == "system" ? 1 : 0; }
  std::vector<std::int32_t> encode(const Encode& encode, std::size_t num_left_out) const;
  std::size_t next_turn(std::size_t num_left_out) const;

  ChatTemplate form_;
  std::vector<Message> messages_;
  std::size_t num_left_out_ = 0;  // behind the system's
};

}  // namespace moesaic::openai
