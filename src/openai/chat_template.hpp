#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace moesaic::openai {

struct Message {
  std::string role, content;
};

/// How the messages of a chat become one prompt of a base model (docs/batch.md): a text for each message, in which
/// {role} and {content} are replaced, then the text that the answer follows.
class ChatTemplate {
 public:
  /// "plain", the built-in one, or the name of a JSON file.
  static ChatTemplate load(const std::string& plain_or_file);
  static ChatTemplate plain();
  /// Messages one after another as they are.
  static ChatTemplate raw();
  /// Error names `source`, the field, and what was expected.
  static ChatTemplate parse(std::string_view text, const std::string& source);

  /// The prompt. Error when a message has a role that the template does not know.
  std::string render(const std::vector<Message>& messages) const;
  /// The prompt that ends within the last message, behind its content, so that the model goes on with it. Error also
  /// when the template puts other text before an answer than before such a message, or its content not just once.
  std::string render_to_continue(const std::vector<Message>& messages) const;
  /// Texts that end an answer, besides a request's own.
  const std::vector<std::string>& stop_strings() const { return stop_strings_; }
  /// What an assistant's message has between the generation prompt and its content, e.g. the space behind "Assistant:".
  /// The model draws it too, and it is no part of the answer's content: rendered again, that gives the same text.
  const std::string& answer_prefix() const { return answer_prefix_; }

 private:
  std::string prefix_of_answer() const;
  /// The text that the template has for messages of a role, before anything is replaced. Null: it does not know it.
  const std::string* form_of(const std::string& role) const;
  std::string text_of(const Message& message) const;

  std::map<std::string, std::string> roles_;  // to the text of a message; "*": all other roles
  std::string generation_prompt_, answer_prefix_;
  std::vector<std::string> stop_strings_;
};

}  // namespace moesaic::openai
