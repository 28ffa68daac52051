#include "openai/parse_line.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "openai/json_line.hpp"
#include "openai/request_fields.hpp"
#include "openai/unsupported_fields.hpp"

namespace moesaic::openai {
namespace {

using nlohmann::json;

constexpr std::int64_t kDefaultMaxTokens = 16;  // of a completion
constexpr float kDefaultTemperature = 1;

/// Whether the last message, which must be an assistant's, is to go on. The answer to an assistant's message would be
/// another of the assistant's, which no chat has; so such an end is taken for a mistake.
bool continues_message(Fields& fields, const std::vector<Message>& chat) {
  const bool continues = fields.boolean("continue_final_message").value_or(false);
  const auto prompts_for_answer = fields.boolean("add_generation_prompt");
  const bool ends_with_answer = chat.back().role == "assistant";
  if (continues && !ends_with_answer)
    fail("continue_final_message is true, expected the last message to be the assistant's, not of the role {}",
         describe(chat.back().role));
  if (continues && prompts_for_answer.value_or(false))
    fail("add_generation_prompt and continue_final_message are true, expected one of them");
  if (!continues && ends_with_answer)
    fail("the last message is the assistant's, expected a message to answer, or continue_final_message: true");
  if (!continues && !prompts_for_answer.value_or(true))
    fail("add_generation_prompt is false, expected true, or continue_final_message: true with it");
  return continues;
}

/// The bodies of OpenAI's batch lines, and of bare ones, by their kind.
void read_completion(Fields& fields, const RequestDefaults& defaults, Request& request) {
  request.prompts = prompts(fields, defaults.vocab_size);
  request.echo = fields.boolean("echo").value_or(false);
  request.max_tokens = fields.integer("max_tokens", request.echo ? 0 : 1, kMostTokens).value_or(kDefaultMaxTokens);
  request.log_probs = alternatives(fields.integer("logprobs", 0, kMostAlternatives));
}

void read_chat(Fields& fields, const RequestDefaults& defaults, Request& request) {
  const std::vector<Message> chat = messages(fields);
  if (!defaults.chat_template) fail("{}", kChatNeedsTemplate);
  request.continues_message = continues_message(fields, chat);
  request.prompts = {request.continues_message ? defaults.chat_template->render_to_continue(chat)
                                               : defaults.chat_template->render(chat)};
  request.stop_strings = defaults.chat_template->stop_strings();
  if (!request.continues_message) request.answer_prefix = defaults.chat_template->answer_prefix();
  request.max_tokens = fields.integer("max_completion_tokens", 1, kMostTokens);
  if (const auto max_tokens = fields.integer("max_tokens", 1, kMostTokens)) {
    if (request.max_tokens && request.max_tokens != max_tokens)
      fail("max_tokens is {} and max_completion_tokens {}, expected one of them", *max_tokens, *request.max_tokens);
    request.max_tokens = max_tokens;
  }
  const bool wanted = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMostAlternatives);
  if (top && *top > 0 && !wanted) fail("top_logprobs is {}, expected logprobs: true with it", *top);
  if (wanted) request.log_probs = alternatives(top.value_or(0));
}

void read_loglikelihood(Fields& fields, const RequestDefaults& defaults, Request& request) {
  for (const char* name : {"context", "continuation"}) {
    const json* value = fields.find(name);
    if (!value) fail("{} is missing, expected a text or a list of token ids", name);
    const bool is_empty_context = name == std::string_view("context") && (*value == "" || *value == json::array());
    request.prompts.push_back(is_empty_context ? Prompt() : prompt(*value, name, defaults.vocab_size));
  }
}

/// What completions and chats have in common.
void read_generation(Fields& fields, const RequestDefaults& defaults, Request& request) {
  request.sampling = sampling(fields, defaults.vocab_size);
  request.sampling.temperature = temperature(fields).value_or(kDefaultTemperature);
  const auto own_seed = seed(fields);
  request.has_seed = own_seed.has_value();
  request.sampling.seed = own_seed.value_or(defaults.seed);
  request.min_tokens = fields.integer("min_tokens", 0, kMostTokens).value_or(0);
  if (request.max_tokens && request.min_tokens > *request.max_tokens)
    fail("min_tokens is {}, expected at most max_tokens, {}", request.min_tokens, *request.max_tokens);
  for (std::string& text : stop_strings(fields)) request.stop_strings.push_back(std::move(text));
  request.stop_tokens = stop_tokens(fields, defaults.vocab_size);
  request.num_choices = static_cast<std::int32_t>(fields.integer("n", 1, kMostChoices).value_or(1));
  request.num_drawn =
      static_cast<std::int32_t>(fields.integer("best_of", 1, kMostChoices).value_or(request.num_choices));
  if (request.num_drawn < request.num_choices)
    fail("best_of is {}, expected at least n, {}", request.num_drawn, request.num_choices);
  request.truncate_prompt_tokens = fields.integer("truncate_prompt_tokens", Request::kAllThatFit, kMostTokens);
  if (request.truncate_prompt_tokens == 0)
    fail("truncate_prompt_tokens is 0, expected how many of the prompt's last tokens count, or -1: all that fit");
  if (request.truncate_prompt_tokens == Request::kAllThatFit && !request.max_tokens)
    fail("truncate_prompt_tokens is -1, which needs max_tokens: the prompt gets what these leave of the context");
  request.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  request.return_token_ids = fields.boolean("return_token_ids").value_or(false);
  if (fields.boolean("stream").value_or(false)) fail("stream is true, expected false: results go to a file");
}

void read_body(Fields& fields, RequestKind kind, const RequestDefaults& defaults, Request& request) {
  request.kind = kind;
  request.model = fields.text("model");
  if (kind == RequestKind::kLoglikelihood) return read_loglikelihood(fields, defaults, request);
  check_unsupported(fields, kind);
  if (kind == RequestKind::kChat)
    read_chat(fields, defaults, request);
  else
    read_completion(fields, defaults, request);
  read_generation(fields, defaults, request);
}

RequestKind kind_of_url(const std::optional<std::string>& url) {
  if (url == "/v1/completions") return RequestKind::kCompletion;
  if (url == "/v1/chat/completions") return RequestKind::kChat;
  if (url == "/v1/loglikelihood") return RequestKind::kLoglikelihood;
  fail("url is {}, expected /v1/completions, /v1/chat/completions or /v1/loglikelihood",
       url ? describe(*url) : "missing");
}

RequestKind kind_of_bare(Fields& fields) {
  const auto type = fields.text("type");
  if (type == "completion") return RequestKind::kCompletion;
  if (type == "chat") return RequestKind::kChat;
  if (type == "loglikelihood") return RequestKind::kLoglikelihood;
  if (type) fail("type is {}, expected completion, chat or loglikelihood", describe(*type));
  return fields.find("messages") ? RequestKind::kChat : RequestKind::kCompletion;
}

/// An OpenAI batch line, or else a body by itself.
void read(const json& object, const RequestDefaults& defaults, Request& request) {
  Fields fields(object);
  request.custom_id = fields.text("custom_id");
  if (!object.contains("body") && !object.contains("url")) {
    read_body(fields, kind_of_bare(fields), defaults, request);
    request.unknown_fields = fields.unknown();
    return;
  }
  if (!request.custom_id) fail("custom_id is missing, expected a string");
  if (const auto method = fields.text("method").value_or("POST"); method != "POST")
    fail("method is {}, expected 'POST'", describe(method));
  const RequestKind kind = kind_of_url(fields.text("url"));
  const json* body = fields.find("body");
  if (!body || !body->is_object()) fail("body is {}, expected an object", body ? describe(*body) : "missing");
  Fields body_fields(*body);
  read_body(body_fields, kind, defaults, request);
  request.unknown_fields = fields.unknown();
  for (std::string& name : body_fields.unknown()) request.unknown_fields.push_back("body." + std::move(name));
}

}  // namespace

std::variant<Request, LineError> parse_line(std::string_view line, LineFormat format, const RequestDefaults& defaults) {
  std::optional<std::string> custom_id;
  Request request;
  auto reason = LineError::Reason::kUnreadable;
  try {
    if (format == LineFormat::kJson) {
      const json object = parse_object(line);
      reason = LineError::Reason::kFields;
      if (const auto id = object.find("custom_id"); id != object.end() && id->is_string())
        custom_id = id->get<std::string>();
      read(object, defaults, request);
    } else {
      check_text(line);
      const json object = {{"prompt", std::string(line)}};
      read(object, defaults, request);
    }
    return request;
  } catch (const Error& error) {
    if (request.kind == RequestKind::kChat && !defaults.chat_template) reason = LineError::Reason::kNoTemplate;
    return LineError{error.what(), custom_id, reason};
  }
}

}  // namespace moesaic::openai
