#include "batch/chat_template.hpp"

#include "base/error.hpp"
#include "batch/json_line.hpp"
#include "io/file.hpp"
#include "io/foreign_format.hpp"

namespace moesaic::batch {
namespace {

constexpr std::int64_t kLargestTemplate_bytes = 1 << 20;

constexpr std::string_view kPlain = R"({
  "roles": {
    "system": "{content}\n\n",
    "developer": "{content}\n\n",
    "user": "Human: {content}\n\n",
    "assistant": "Assistant: {content}\n\n"
  },
  "generation_prompt": "Assistant:",
  "stop": ["\n\nHuman:"]
})";

constexpr std::string_view kRaw = R"({"roles": {"*": "{content}"}, "generation_prompt": ""})";

/// One pass: braces in what is put in are left alone.
std::string replaced(std::string_view form, const Message& message) {
  std::string text;
  while (!form.empty()) {
    if (form.starts_with("{role}")) {
      text += message.role;
      form.remove_prefix(6);
    } else if (form.starts_with("{content}")) {
      text += message.content;
      form.remove_prefix(9);
    } else {
      text += form.front();
      form.remove_prefix(1);
    }
  }
  return text;
}

}  // namespace

ChatTemplate ChatTemplate::plain() { return parse(kPlain, "the plain chat template"); }

ChatTemplate ChatTemplate::raw() { return parse(kRaw, "the raw chat template"); }

ChatTemplate ChatTemplate::load(const std::string& plain_or_file) {
  if (plain_or_file == "plain") return plain();
  const std::string text = io::read_text_file(plain_or_file, kLargestTemplate_bytes);
  io::require_text(text, plain_or_file);
  return parse(text, plain_or_file);
}

ChatTemplate ChatTemplate::parse(std::string_view text, const std::string& source) try {
  const nlohmann::json object = parse_object(text);
  Fields fields(object);
  ChatTemplate result;
  const auto* roles = fields.find("roles");
  if (!roles || !roles->is_object() || roles->empty()) fail("roles is missing or not an object of texts");
  Fields forms(*roles);
  for (const auto& item : roles->items()) {
    const auto form = forms.text(item.key().c_str());
    if (!form || form->find("{content}") == std::string::npos)
      fail("roles.{} is {}, expected a text with {{content}}", item.key(), describe(item.value()));
    result.roles_[item.key()] = *form;
  }
  const auto prompt = fields.text("generation_prompt");
  if (!prompt) fail("generation_prompt is missing, expected the text that the answer follows");
  result.generation_prompt_ = *prompt;
  if (const auto* stop = fields.find("stop")) {
    if (!stop->is_array()) fail("stop is {}, expected a list of texts", describe(*stop));
    for (const auto& one : *stop) {
      if (!one.is_string() || one.empty() || one == "") fail("stop has {}, expected texts", describe(one));
      result.stop_strings_.push_back(one);
    }
  }
  if (const auto unknown = fields.unknown(); !unknown.empty())
    fail("{} is no field of a chat template; expected roles, generation_prompt and stop", unknown.front());
  return result;
} catch (const Error& error) {
  fail("{}: {}", source, error.what());
}

std::string ChatTemplate::text_of(const Message& message) const {
  auto form = roles_.find(message.role);
  if (form == roles_.end()) form = roles_.find("*");
  if (form == roles_.end()) {
    std::string known;
    for (const auto& [role, text] : roles_) known += (known.empty() ? "" : ", ") + role;
    fail("the chat template has no role '{}'; it has {}", message.role, known);
  }
  return replaced(form->second, message);
}

std::string ChatTemplate::render(const std::vector<Message>& messages) const {
  std::string prompt;
  for (const Message& message : messages) prompt += text_of(message);
  return prompt + generation_prompt_;
}

std::string ChatTemplate::render_to_continue(const std::vector<Message>& messages) const {
  constexpr char kMark = '\0';  // where the content goes
  const Message& last = messages.back();
  const std::string around = text_of({last.role, std::string(1, kMark)});
  const std::size_t before = around.find(kMark);
  if (around.find(kMark, before + 1) != std::string::npos || !around.starts_with(generation_prompt_) ||
      before < generation_prompt_.size())
    fail(
        "the chat template cannot continue a message: its text for '{}' does not begin with generation_prompt and have "
        "{{content}} once, behind it",
        last.role);
  std::string prompt;
  for (std::size_t i = 0; i + 1 < messages.size(); ++i) prompt += text_of(messages[i]);
  return prompt + around.substr(0, before) + last.content;
}

}  // namespace moesaic::batch
