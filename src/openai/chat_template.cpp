#include "openai/chat_template.hpp"

#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.hpp"
#include "io/file.hpp"
#include "io/foreign_format.hpp"
#include "openai/json_line.hpp"

namespace moesaic::openai {
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

constexpr std::string_view kForm =
    R"(a chat template is JSON, in which {role} and {content} are replaced, e.g. {"roles": {"user": "Human: {content}\n\n", )"
    R"("assistant": "Assistant: {content}\n\n"}, "generation_prompt": "Assistant:", "stop": ["\n\nHuman:"]} (docs/batch.md))";

bool is_jinja(std::string_view text) {
  return text.find("{{") != std::string_view::npos || text.find("{%") != std::string_view::npos;
}

/// Error when a file is no JSON object, or has a template in Jinja, as those that are published with models.
nlohmann::json parse_file(std::string_view text) {
  nlohmann::json object;
  try {
    object = parse_object(text);
  } catch (const Error& error) {
    if (is_jinja(text)) fail("is a Jinja template, and those are not read: {}", kForm);
    fail("{}; {}", error.what(), kForm);
  }
  if (object.contains("chat_template"))
    fail("has the field chat_template, as tokenizer_config.json: a Jinja template, and those are not read; {}", kForm);
  return object;
}

/// Error when a text is written in another template language: it would be taken as it is, without a word.
void check_language(const std::string& name, std::string_view text) {
  for (const std::string_view mark : {"{{", "{%", "<%"})
    if (text.find(mark) != std::string_view::npos)
      fail("{} has '{}', as other template languages do; {}", name, mark, kForm);
  static const std::regex kPlace(R"([$%]?\{ *[A-Za-z_][A-Za-z0-9_.]* *\}|%\([A-Za-z_][A-Za-z0-9_]*\)s)");
  for (std::cregex_iterator place(text.data(), text.data() + text.size(), kPlace), end; place != end; ++place)
    if (const std::string found = place->str(); found != "{content}" && found != "{role}")
      fail("{} has {}, and only {{content}} and {{role}} are replaced; {}", name, found, kForm);
}

/// Error when a text where nothing is replaced has a place of a message.
void check_has_no_place(const std::string& name, std::string_view text) {
  for (const std::string_view place : {"{role}", "{content}"})
    if (text.find(place) != std::string_view::npos)
      fail("{} has {}, and nothing is replaced there: write what stands in its place", name, place);
}

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
  const nlohmann::json object = parse_file(text);
  Fields fields(object);
  ChatTemplate result;
  const auto* roles = fields.find("roles");
  if (!roles || !roles->is_object() || roles->empty()) fail("roles is missing or not an object of texts");
  Fields forms(*roles);
  for (const auto& item : roles->items()) {
    const auto form = forms.text(item.key().c_str());
    if (!form || form->find("{content}") == std::string::npos)
      fail("roles.{} is {}, expected a text with {{content}}", item.key(), describe(item.value()));
    check_language("roles." + item.key(), *form);
    result.roles_[item.key()] = *form;
  }
  const auto prompt = fields.text("generation_prompt");
  if (!prompt) fail("generation_prompt is missing, expected the text that the answer follows");
  check_language("generation_prompt", *prompt);
  check_has_no_place("generation_prompt", *prompt);
  result.generation_prompt_ = *prompt;
  result.answer_prefix_ = result.prefix_of_answer();
  if (const auto* stop = fields.find("stop")) {
    if (!stop->is_array()) fail("stop is {}, expected a list of texts", describe(*stop));
    for (const auto& one : *stop) {
      if (!one.is_string() || one.empty() || one == "") fail("stop has {}, expected texts", describe(one));
      check_language("stop", one.get_ref<const std::string&>());
      check_has_no_place("stop", one.get_ref<const std::string&>());
      result.stop_strings_.push_back(one);
    }
  }
  if (const auto unknown = fields.unknown(); !unknown.empty())
    fail("{} is no field of a chat template; expected roles, generation_prompt and stop", unknown.front());
  return result;
} catch (const Error& error) {
  fail("{}: {}", source, error.what());
}

std::string ChatTemplate::prefix_of_answer() const {
  const std::string* form = form_of("assistant");
  if (!form) return "";
  const std::string before = replaced(form->substr(0, form->find("{content}")), {"assistant", ""});
  return before.starts_with(generation_prompt_) ? before.substr(generation_prompt_.size()) : "";
}

const std::string* ChatTemplate::form_of(const std::string& role) const {
  auto form = roles_.find(role);
  if (form == roles_.end()) form = roles_.find("*");
  return form == roles_.end() ? nullptr : &form->second;
}

std::string ChatTemplate::text_of(const Message& message) const {
  const std::string* form = form_of(message.role);
  if (!form) {
    std::string known;
    for (const auto& [role, text] : roles_) known += (known.empty() ? "" : ", ") + role;
    fail("the chat template has no role '{}'; it has {}", message.role, known);
  }
  return replaced(*form, message);
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

}  // namespace moesaic::openai
