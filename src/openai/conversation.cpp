#include "openai/conversation.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "openai/request_fields.hpp"

namespace moesaic::openai {

void Conversation::set_system(const std::string& text) {
  if (!text.empty()) form_.render({{"system", text}});
  messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(num_system()));
  if (!text.empty()) messages_.insert(messages_.begin(), {"system", text});
}

bool Conversation::undo() {
  const auto last =
      std::find_if(messages_.rbegin(), messages_.rend(), [](const Message& message) { return message.role == "user"; });
  if (last == messages_.rend()) return false;
  messages_.erase(std::prev(last.base()), messages_.end());
  take_back_if_empty();
  return true;
}

bool Conversation::drop_answer() {
  if (messages_.empty() || messages_.back().role != "assistant") return false;
  messages_.pop_back();
  take_back_if_empty();
  return true;
}

/// When nothing but what was left out remains, it is the conversation again.
void Conversation::take_back_if_empty() {
  if (num_left_out_ >= messages_.size() - num_system()) num_left_out_ = 0;
}

void Conversation::reset() {
  messages_.resize(num_system());
  num_left_out_ = 0;
}

std::vector<std::int32_t> Conversation::encode(const Encode& encode, std::size_t num_left_out) const {
  std::vector<Message> rest = messages_;
  const auto first = rest.begin() + static_cast<std::ptrdiff_t>(num_system());
  rest.erase(first, first + static_cast<std::ptrdiff_t>(num_left_out));
  return encode(form_.render(rest));
}

/// Where the turn behind so many messages ends; the number of all when there is none after it.
std::size_t Conversation::next_turn(std::size_t num_left_out) const {
  const std::size_t all = messages_.size() - num_system();
  std::size_t next = num_left_out;
  while (next < all && messages_[num_system() + next].role != "assistant") ++next;
  return std::min(next + 1, all);
}

Conversation::Prompt Conversation::prompt(const Encode& encode_text, std::int64_t most_tokens) {
  std::size_t left_out = num_left_out_;
  std::vector<std::int32_t> tokens = encode(encode_text, left_out);
  if (std::ssize(tokens) > most_tokens) {
    const std::size_t all = messages_.size() - num_system();
    const std::int64_t wanted = most_tokens * 3 / 4;
    while (std::ssize(tokens) > wanted) {
      const std::size_t next = next_turn(left_out);
      if (next >= all) break;
      left_out = next;
      tokens = encode(encode_text, left_out);
    }
  }
  if (std::ssize(tokens) > most_tokens)
    fail("this makes a prompt of {} tokens, and at most {} leave room for an answer; shorten it", tokens.size(),
         most_tokens);
  const std::size_t more = left_out - std::exchange(num_left_out_, left_out);
  return {std::move(tokens), more};
}

std::string Conversation::json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Message& message : messages_) list.push_back({{"role", message.role}, {"content", message.content}});
  return json_text(nlohmann::ordered_json{{"messages", list}}) + "\n";
}

void Conversation::load(const std::string& text, const std::string& source) try {
  const nlohmann::json object = parse_object(text);
  Fields fields(object);
  std::vector<Message> loaded = openai::messages(fields);
  if (const auto unknown = fields.unknown(); !unknown.empty()) fail("{} is no field of a chat", unknown.front());
  form_.render(loaded);
  messages_ = std::move(loaded);
  num_left_out_ = 0;
} catch (const Error& error) {
  fail("{}: is no saved chat: {}", source, error.what());
}

}  // namespace moesaic::openai
