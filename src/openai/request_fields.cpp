#include "openai/request_fields.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"

namespace moesaic::openai {
namespace {

using nlohmann::json;

// What no logit overflows with (SamplingOptions).
constexpr float kSmallest = 1e-6f, kLargest = 1e6f;

std::vector<std::int32_t> token_ids(const json& list, const std::string& name, std::int64_t vocab_size) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json& id = list[i];
    const bool fits = id.is_number_unsigned() && id.get<std::uint64_t>() < static_cast<std::uint64_t>(vocab_size);
    if (!fits || id == 0) fail("{}[{}] is {}, expected a token id from 1 to {}", name, i, describe(id), vocab_size - 1);
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

/// What "content" of a message is, which `name` names in an Error.
std::string content_of(Fields& message, const std::string& name) {
  const json* content = message.find("content");
  if (content && content->is_string()) return *content;
  if (!content || !content->is_array())
    fail("{}.content is {}, expected a text", name, content ? describe(*content) : "missing");
  std::string text;
  for (const json& element : *content) {
    Fields part(element);
    const json* type = element.is_object() ? part.find("type") : nullptr;
    const json* part_text = element.is_object() ? part.find("text") : nullptr;
    const bool is_text = type && *type == "text" && part_text && part_text->is_string();
    if (!is_text) fail("{}.content has a part that is not {{\"type\": \"text\", \"text\": ...}}", name);
    text += part_text->get_ref<const std::string&>();
    message.add_unknown(part, "content[].");
  }
  return text;
}

std::vector<std::pair<std::int32_t, float>> logit_bias(Fields& fields, std::int64_t vocab_size) {
  std::vector<std::pair<std::int32_t, float>> biases;
  const json* object = fields.find("logit_bias");
  if (!object) return biases;
  if (!object->is_object()) fail("logit_bias is {}, expected an object of token ids and numbers", describe(*object));
  Fields numbers(*object, "logit_bias of token ");
  for (const auto& item : object->items()) {
    const std::string& key = item.key();
    std::int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    // One spelling for an id, so that none is there twice.
    if (error != std::errc() || std::to_string(id) != key || id < 0 || id >= vocab_size)
      fail("logit_bias has the key {}, expected a token id from 0 to {}", describe(key), vocab_size - 1);
    const auto bias = numbers.number(key.c_str(), -100, 100);
    if (!bias) fail("logit_bias of token {} is null, expected a number from -100 to 100", id);
    biases.emplace_back(static_cast<std::int32_t>(id), *bias);
  }
  return biases;
}

}  // namespace

Prompt prompt(const json& value, const std::string& name, std::int64_t vocab_size) {
  if (value.is_string() && !value.get_ref<const std::string&>().empty()) return value.get<std::string>();
  if (value.is_array() && !value.empty()) return token_ids(value, name, vocab_size);
  fail("{} is {}, expected a text or a list of token ids, not empty", name, describe(value));
}

std::vector<Prompt> prompts(Fields& fields, std::int64_t vocab_size) {
  const json* value = fields.find("prompt");
  if (!value) fail("prompt is missing, expected a text, a list of token ids, or a list of these");
  const bool is_list = value->is_array() && !value->empty() && !value->front().is_number();
  if (!is_list) return {prompt(*value, "prompt", vocab_size)};
  if (std::ssize(*value) > kMostPrompts)
    fail("prompt is a list of {}, expected at most {} prompts a line", value->size(), kMostPrompts);
  std::vector<Prompt> list;
  for (const json& one : *value) list.push_back(prompt(one, fmt::format("prompt[{}]", list.size()), vocab_size));
  return list;
}

std::vector<Message> messages(Fields& fields) {
  const json* list = fields.find("messages");
  if (!list || !list->is_array() || list->empty())
    fail("messages is {}, expected a list of messages", list ? describe(*list) : "missing");
  std::vector<Message> result;
  for (const json& message : *list) {
    const std::string name = fmt::format("messages[{}]", result.size());
    if (!message.is_object()) fail("{} is {}, expected an object", name, describe(message));
    Fields message_fields(message);
    const json* role = message_fields.find("role");
    if (!role || !role->is_string()) fail("{}.role is {}, expected a text", name, role ? describe(*role) : "missing");
    result.push_back({*role, content_of(message_fields, name)});
    fields.add_unknown(message_fields, "messages[].");
  }
  return result;
}

std::vector<std::string> stop_strings(Fields& fields) {
  const json* stop = fields.find("stop");
  if (!stop) return {};
  std::vector<json> list = {*stop};
  if (stop->is_array()) list = stop->get<std::vector<json>>();
  if (std::ssize(list) > kMostStopStrings)
    fail("stop is a list of {}, expected at most {}", list.size(), kMostStopStrings);
  std::vector<std::string> texts;
  for (const json& text : list) {
    if (!text.is_string() || text == "") fail("stop has {}, expected texts that are not empty", describe(text));
    texts.push_back(text);
  }
  return texts;
}

SamplingOptions sampling(Fields& fields, std::int64_t vocab_size) {
  SamplingOptions options;
  options.top_p = fields.number("top_p", kSmallest, 1).value_or(1);
  options.top_k =
      static_cast<std::int32_t>(std::max<std::int64_t>(fields.integer("top_k", -1, kMostTokens).value_or(0), 0));
  options.min_p = fields.number("min_p", 0, 1).value_or(0);
  options.repetition_penalty = fields.number("repetition_penalty", kSmallest, kLargest).value_or(1);
  options.presence_penalty = fields.number("presence_penalty", -2, 2).value_or(0);
  options.frequency_penalty = fields.number("frequency_penalty", -2, 2).value_or(0);
  options.logit_bias = logit_bias(fields, vocab_size);
  return options;
}

std::vector<std::int32_t> stop_tokens(Fields& fields, std::int64_t vocab_size) {
  const json* list = fields.find("stop_token_ids");
  if (!list) return {};
  if (!list->is_array()) fail("stop_token_ids is {}, expected a list of token ids", describe(*list));
  std::set<std::int32_t> ids;
  for (const json& id : *list) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(vocab_size))
      fail("stop_token_ids has {}, expected token ids from 0 to {}", describe(id), vocab_size - 1);
    ids.insert(id.get<std::int32_t>());
  }
  // With min_tokens neither these nor the end token are drawn, which must leave one that is.
  if (std::ssize(ids) >= vocab_size - 1)
    fail("stop_token_ids has {} ids, expected fewer than {}: others must be left to draw", ids.size(), vocab_size - 1);
  return {ids.begin(), ids.end()};
}

std::optional<float> temperature(Fields& fields) {
  const json* value = fields.find("temperature");
  if (value && value->is_number() && value->get<double>() == 0) return 0.0f;
  return fields.number("temperature", kSmallest, kLargest);
}

std::optional<std::uint64_t> seed(Fields& fields) {
  const json* value = fields.find("seed");
  if (!value) return std::nullopt;
  if (value->is_number_unsigned()) return value->get<std::uint64_t>();
  if (!value->is_number_integer()) fail("seed is {}, expected an integer from -2^63 to 2^64-1", describe(*value));
  return static_cast<std::uint64_t>(value->get<std::int64_t>());
}

std::optional<std::int32_t> alternatives(std::optional<std::int64_t> count) {
  if (!count) return std::nullopt;
  return static_cast<std::int32_t>(*count);
}

}  // namespace moesaic::openai
