#include "openai/record.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "openai/text_offsets.hpp"

namespace moesaic::openai {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  MOESAIC_CHECK(std::isfinite(value), "a log-probability is {}", value);
  return value;
}
Json number(const std::optional<double>& value) { return value ? number(*value) : Json(); }
Json text_or_null(const std::optional<std::string>& text) { return text ? Json(valid_utf8(*text)) : Json(); }

/// The alternatives and the token itself, as completions have them. Of tokens that read the same the most probable is
/// shown.
Json top_of(const TokenScores& scores) {
  Json top = Json::object();
  for (const Alternative& token : scores.top)
    if (const std::string text = token.token.text(); !top.contains(text)) top[text] = number(token.log_prob);
  if (const std::string text = scores.token.text(); !top.contains(text)) top[text] = number(scores.log_prob);
  return top;
}

Json completion_scores(const Choice& choice) {
  Json tokens = Json::array(), log_probs = Json::array(), top = Json::array(), offsets = Json::array();
  TextOffsets text_offsets(choice.text);
  for (const TokenScores& scores : choice.scores) {
    tokens.push_back(scores.token.text());
    log_probs.push_back(number(scores.log_prob));
    top.push_back(scores.log_prob ? top_of(scores) : Json());
    offsets.push_back(text_offsets.next(scores.token.bytes));
  }
  return {{"tokens", tokens}, {"token_logprobs", log_probs}, {"top_logprobs", top}, {"text_offset", offsets}};
}

Json chat_token(const ShownToken& shown, const std::optional<double>& log_prob) {
  Json values = Json::array();
  for (const char byte : shown.bytes) values.push_back(static_cast<unsigned char>(byte));
  return {{"token", shown.text()}, {"logprob", number(log_prob)}, {"bytes", values}};
}

Json chat_scores(const Choice& choice) {
  Json content = Json::array();
  for (const TokenScores& scores : choice.scores) {
    Json token = chat_token(scores.token, scores.log_prob);
    token["top_logprobs"] = Json::array();
    for (const Alternative& other : scores.top)
      token["top_logprobs"].push_back(chat_token(other.token, other.log_prob));
    content.push_back(std::move(token));
  }
  return {{"content", content}};
}

Json choice_of(const Choice& choice, std::size_t index, const Request& request) {
  Json record = {{"index", index}};
  const bool is_chat = request.kind == RequestKind::kChat;
  if (is_chat)
    record["message"] = {{"role", "assistant"}, {"content", valid_utf8(choice.text)}};
  else
    record["text"] = valid_utf8(choice.text);
  if (request.return_token_ids) record["token_ids"] = choice.tokens;
  record["logprobs"] = !request.log_probs ? Json() : is_chat ? chat_scores(choice) : completion_scores(choice);
  record["finish_reason"] = choice.stopped ? "stop" : "length";
  return record;
}

/// The beginning of a body.
Json body_of(const std::string& id, const Request& request, const std::string& model, const char* prefix,
             const char* object) {
  return {
      {"id", prefix + id}, {"object", object}, {"created", 0}, {"model", valid_utf8(request.model.value_or(model))}};
}

std::string dumped(const Json& record) { return json_text(record) + "\n"; }

std::string response(const std::string& id, const Request& request, Json body) {
  return dumped({{"id", "batch_req_" + id},
                 {"custom_id", text_or_null(request.custom_id)},
                 {"response", {{"status_code", 200}, {"request_id", "req_" + id}, {"body", std::move(body)}}},
                 {"error", nullptr}});
}

}  // namespace

std::string ShownToken::text() const { return valid_utf8(name.empty() ? bytes : name); }

std::string record_id(std::int64_t index, std::string_view line) {
  std::uint8_t index_bytes[8];  // little-endian, whatever the machine
  for (int i = 0; i < 8; ++i) index_bytes[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(index) >> (8 * i));
  Hasher hasher;
  hasher.update(std::as_bytes(std::span(index_bytes)));
  hasher.update(std::as_bytes(std::span(line)));
  return hasher.digest().hex();
}

std::string completion_record(const std::string& id, const Request& request, const std::string& model,
                              const Completion& completion) {
  const bool is_chat = request.kind == RequestKind::kChat;
  Json body =
      body_of(id, request, model, is_chat ? "chatcmpl-" : "cmpl-", is_chat ? "chat.completion" : "text_completion");
  body["choices"] = Json::array();
  for (const Choice& choice : completion.choices)
    body["choices"].push_back(choice_of(choice, body["choices"].size(), request));
  body["usage"] = {{"prompt_tokens", completion.prompt_tokens},
                   {"completion_tokens", completion.completion_tokens},
                   {"total_tokens", completion.prompt_tokens + completion.completion_tokens}};
  return response(id, request, std::move(body));
}

std::string loglikelihood_record(const std::string& id, const Request& request, const std::string& model,
                                 const Loglikelihood& loglikelihood) {
  Json body = body_of(id, request, model, "ll-", "loglikelihood");
  double sum = 0;
  Json each = Json::array();
  for (const double log_prob : loglikelihood.token_log_probs) {
    sum += log_prob;
    each.push_back(number(log_prob));
  }
  body["logprob"] = number(sum);
  body["num_tokens"] = loglikelihood.token_log_probs.size();
  body["is_greedy"] = loglikelihood.is_greedy;
  body["token_logprobs"] = std::move(each);
  if (loglikelihood.num_cut > 0) body["truncated_tokens"] = loglikelihood.num_cut;
  if (loglikelihood.prefix_token) body["prefix_token"] = *loglikelihood.prefix_token;
  return response(id, request, std::move(body));
}

std::string error_record(const std::string& id, const std::optional<std::string>& custom_id, const std::string& code,
                         const std::string& message) {
  return dumped({{"id", "batch_req_" + id},
                 {"custom_id", text_or_null(custom_id)},
                 {"response", nullptr},
                 {"error", {{"code", code}, {"message", valid_utf8(message)}}}});
}

}  // namespace moesaic::openai
