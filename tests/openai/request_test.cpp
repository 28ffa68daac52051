#include "openai/request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "openai/json_line.hpp"
#include "openai/parse_line.hpp"

namespace moesaic::openai {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

const ChatTemplate kPlain = ChatTemplate::plain();
const RequestDefaults kDefaults{1000, 77, &kPlain};

Request request_of(std::string_view line, LineFormat format = LineFormat::kJson) {
  auto parsed = parse_line(line, format, kDefaults);
  if (const auto* error = std::get_if<LineError>(&parsed)) {
    ADD_FAILURE() << line.substr(0, 200) << ": " << error->message;
    return {};
  }
  return std::get<Request>(std::move(parsed));
}

LineError error_of(std::string_view line, LineFormat format = LineFormat::kJson) {
  auto parsed = parse_line(line, format, kDefaults);
  if (std::holds_alternative<Request>(parsed)) return {"no error", {}};
  return std::get<LineError>(std::move(parsed));
}

/// Of lines, each with what its error says.
template <class Cases>
void expect_errors(const Cases& cases) {
  for (const auto& [line, expected] : cases) EXPECT_THAT(error_of(line).message, HasSubstr(expected));
}

TEST(Request, ABareLineIsACompletionWithDefaults) {
  const Request r = request_of(R"({"prompt": "Once"})");
  EXPECT_EQ(r.kind, RequestKind::kCompletion);
  EXPECT_EQ(r.prompts, std::vector<Prompt>{"Once"});
  EXPECT_FALSE(r.custom_id);
  EXPECT_EQ(r.max_tokens, 16);
  EXPECT_EQ(r.sampling.temperature, 1);
  EXPECT_EQ(r.sampling.seed, 77u);
  EXPECT_FALSE(r.has_seed);
  EXPECT_EQ(r.num_choices, 1);
  EXPECT_FALSE(r.log_probs);
  EXPECT_TRUE(r.unknown_fields.empty());
}

TEST(Request, AnOpenAiLineHasItsFieldsInTheBody) {
  const Request r = request_of(
      R"({"custom_id": "a", "method": "POST", "url": "/v1/completions", "foo": 1, "body": {"model": "m", "prompt": [[1, 2], [3]],
      "max_tokens": 5, "min_tokens": 2, "temperature": 0, "top_p": 0.5, "top_k": 40, "min_p": 0.1, "seed": -1, "stop": ["x", "y"],
      "n": 3, "echo": true, "logprobs": 2, "logit_bias": {"7": -100, "12": 1.5}, "presence_penalty": 1, "frequency_penalty": -2,
      "repetition_penalty": 1.2, "ignore_eos": true, "best_of": 5, "stop_token_ids": [9, 0, 9, 4],
      "truncate_prompt_tokens": 8, "verbosity": "low", "stream": false}})");
  EXPECT_EQ(r.custom_id, "a");
  EXPECT_EQ(r.model, "m");
  EXPECT_EQ(r.prompts, (std::vector<Prompt>{Ids{1, 2}, Ids{3}}));
  EXPECT_EQ(r.max_tokens, 5);
  EXPECT_EQ(r.min_tokens, 2);
  EXPECT_EQ(r.sampling.temperature, 0);
  EXPECT_EQ(r.sampling.top_p, 0.5f);
  EXPECT_EQ(r.sampling.top_k, 40);
  EXPECT_EQ(r.sampling.min_p, 0.1f);
  EXPECT_EQ(r.sampling.seed, ~std::uint64_t{0});
  EXPECT_TRUE(r.has_seed);
  EXPECT_THAT(r.stop_strings, ElementsAre("x", "y"));
  EXPECT_EQ(r.num_choices, 3);
  EXPECT_EQ(r.num_drawn, 5);
  EXPECT_THAT(r.stop_tokens, ElementsAre(0, 4, 9));
  EXPECT_EQ(r.truncate_prompt_tokens, 8);
  EXPECT_TRUE(r.echo);
  EXPECT_EQ(r.log_probs, 2);
  EXPECT_THAT(r.sampling.logit_bias, testing::UnorderedElementsAre(std::pair(7, -100.0f), std::pair(12, 1.5f)));
  EXPECT_EQ(r.sampling.presence_penalty, 1);
  EXPECT_EQ(r.sampling.frequency_penalty, -2);
  EXPECT_EQ(r.sampling.repetition_penalty, 1.2f);
  EXPECT_TRUE(r.ignore_eos);
  EXPECT_THAT(r.unknown_fields, ElementsAre("foo", "body.verbosity"));
}

TEST(Request, FieldsThatMeanNothingAreReportedByTheirPath) {
  const Request r = request_of(
      R"({"custom_id": "a", "url": "/v1/chat/completions", "null": null, "extra": {"deep": 1}, "body": {
      "messages": [{"role": "system", "content": "S", "name": "x", "weight": null},
                   {"role": "user", "name": "y", "content": [
                     {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "citations": null},
                     {"type": "text", "text": "b", "cache_control": {}}]},
                   {"role": "assistant", "content": "c", "tool_calls": [{"id": "1"}], "refusal": null},
                   {"role": "user", "content": "d"}],
      "stream_options": {"include_usage": true, "chunks": 1, "none": null},
      "response_format": {"type": "text", "strict": true}, "reasoning_effort": "low"}})");
  EXPECT_THAT(r.unknown_fields, ElementsAre("extra", "body.messages[].content[].cache_control", "body.messages[].name",
                                            "body.messages[].tool_calls", "body.reasoning_effort",
                                            "body.response_format.strict", "body.stream_options.chunks"));
  EXPECT_THAT(
      request_of(R"({"type": "loglikelihood", "context": "a", "continuation": "b", "x": null, "y": 0})").unknown_fields,
      ElementsAre("y"));
}

TEST(Request, FieldsThatWouldChangeTheAnswerAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("tools": [{"type": "function"}])", "tools is a list of 1, expected none, or tool_choice: 'none' with it"},
      {R"("tools": [{}], "tool_choice": "auto")", "tools is a list of 1"},
      {R"("tools": {})", "tools is an object"},
      {R"("tool_choice": "required")", "tool_choice is 'required', which cannot be done: functions are not called"},
      {R"("functions": [{"name": "f"}])", "functions is a list of 1"},
      {R"("function_call": {"name": "f"})", "function_call is an object"},
      {R"("response_format": {"type": "json_object"})", "response_format is of the type 'json_object', expected"},
      {R"("response_format": {})", "response_format is an object"},
      {R"("response_format": "text")", "response_format is 'text'"},
      {R"("suffix": "end")", "suffix is 'end', which cannot be done"},
      {R"("guided_json": {"type": "object"})", "guided_json is an object"},
      {R"("guided_regex": "a+")", "guided_regex is 'a+'"},
      {R"("guided_choice": ["a"])", "guided_choice is a list of 1"},
      {R"("structured_outputs": {"json": {}})", "structured_outputs is an object"},
      {R"("prompt_embeds": "AAAA")", "prompt_embeds is 'AAAA'"},
      {R"("logits_processors": ["f"])", "logits_processors is a list of 1"},
      {R"("use_beam_search": true)", "use_beam_search is true"},
      {R"("length_penalty": 1.2)", "length_penalty is 1.2"},
      {R"("bad_words": ["a"])", "bad_words is a list of 1"},
      {R"("allowed_token_ids": [5])", "allowed_token_ids is a list of 1"},
      {R"("skip_special_tokens": false)", "skip_special_tokens is false"},
      {R"("add_special_tokens": true)", "add_special_tokens is true"},
      {R"("include_stop_str_in_output": true)", "include_stop_str_in_output is true"},
      {R"("prompt_logprobs": 0)", "prompt_logprobs is 0"},
      {R"("modalities": ["text", "audio"])", "modalities is a list of 2"},
      {R"("audio": {"voice": "v"})", "audio is an object"},
      {R"("typical_p": 0.9)", "typical_p is 0.9"},
      {R"("max_new_tokens": 5)", "max_new_tokens is 5, which cannot be done: its name here is max_tokens"},
  };
  for (const auto& [field, expected] : cases)
    for (const char* prompt : {R"({"prompt": "a", )", R"({"messages": [{"role": "user", "content": "a"}], )"})
      EXPECT_THAT(error_of(std::string(prompt) + field + "}").message, HasSubstr(expected));
  EXPECT_THAT(error_of(R"({"prompt": "a", "max_completion_tokens": 5})").message,
              HasSubstr("max_completion_tokens is 5"));
  EXPECT_THAT(error_of(R"({"messages": [{"role": "user", "content": "a"}], "echo": true})").message,
              HasSubstr("echo is true"));
}

TEST(Request, ValuesThatAskForNothingAndFieldsThatChangeNothingPass) {
  const std::string fields = R"("tools": [{"type": "function"}], "tool_choice": "none", "functions": [],
      "function_call": "auto", "response_format": {"type": "text"}, "suffix": "", "guided_choice": [], "use_beam_search": false,
      "length_penalty": 1, "best_of": 1, "n": 1, "modalities": ["text"], "skip_special_tokens": true, "logits_processors": [],
      "add_special_tokens": false, "stream_options": null, "echo": false, "stop_token_ids": [], "audio": null,
      "continue_final_message": false, "top_logprobs": 0, "user": "u", "metadata": {"a": "b"}, "store": true,
      "service_tier": "auto", "priority": 3, "prompt_cache_key": "k", "parallel_tool_calls": true})";
  for (const char* prompt : {R"({"prompt": "a", )", R"({"messages": [{"role": "user", "content": "a"}], )"})
    EXPECT_TRUE(request_of(prompt + fields).unknown_fields.empty());
}

TEST(Request, AnAssistantsLastMessageGoesOnIfThatIsSaid) {
  const auto chat = [](const char* role, const std::string& fields) {
    return R"({"messages": [{"role": "user", "content": "Hi"}, {"role": ")" + std::string(role) +
           R"(", "content": "Hel"}])" + fields + "}";
  };
  for (const char* fields :
       {R"(, "continue_final_message": true)", R"(, "continue_final_message": true, "add_generation_prompt": false)"}) {
    const Request r = request_of(chat("assistant", fields));
    EXPECT_EQ(r.prompts, std::vector<Prompt>{"Human: Hi\n\nAssistant: Hel"});
    EXPECT_TRUE(r.continues_message);
    EXPECT_TRUE(r.unknown_fields.empty());
  }
  EXPECT_FALSE(request_of(chat("user", R"(, "add_generation_prompt": true)")).continues_message);
  const std::pair<std::string, const char*> cases[] = {
      {chat("assistant", ""), "the last message is the assistant's, expected"},
      {chat("assistant", R"(, "add_generation_prompt": false)"), "or continue_final_message: true"},
      {chat("user", R"(, "continue_final_message": true)"),
       "continue_final_message is true, expected the last message"},
      {chat("user", R"(, "add_generation_prompt": false)"), "add_generation_prompt is false"},
      {chat("assistant", R"(, "continue_final_message": true, "add_generation_prompt": true)"), "expected one of them"},
  };
  expect_errors(cases);
}

TEST(Request, PromptsMayBeTextIdsOrLists) {
  EXPECT_EQ(request_of(R"({"prompt": [5, 999]})").prompts, (std::vector<Prompt>{Ids{5, 999}}));
  EXPECT_EQ(request_of(R"({"prompt": ["a", [1]]})").prompts, (std::vector<Prompt>{"a", Ids{1}}));
  EXPECT_EQ(request_of("{ not JSON", LineFormat::kText).prompts, std::vector<Prompt>{"{ not JSON"});
}

TEST(Request, AChatIsRenderedByTheTemplate) {
  const char* line = R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "stop": "z",
      "logprobs": true, "top_logprobs": 3})";
  const Request r = request_of(line);
  EXPECT_EQ(r.kind, RequestKind::kChat);
  EXPECT_EQ(r.prompts, std::vector<Prompt>{"Human: Hi\n\nAssistant:"});
  EXPECT_FALSE(r.max_tokens);
  EXPECT_THAT(r.stop_strings, ElementsAre("\n\nHuman:", "z"));
  EXPECT_EQ(r.log_probs, 3);
  const auto without = parse_line(line, LineFormat::kJson, {1000, 0, nullptr});
  EXPECT_THAT(std::get<LineError>(without).message, HasSubstr("--chat-template"));
}

TEST(Request, ALoglikelihoodHasContextAndContinuation) {
  const Request bare = request_of(R"({"type": "loglikelihood", "context": "a", "continuation": [4, 5], "x": 0})");
  EXPECT_EQ(bare.kind, RequestKind::kLoglikelihood);
  EXPECT_EQ(bare.prompts, (std::vector<Prompt>{"a", Ids{4, 5}}));
  EXPECT_THAT(bare.unknown_fields, ElementsAre("x"));
  const Request full =
      request_of(R"({"custom_id": "7", "url": "/v1/loglikelihood", "body": {"context": "a", "continuation": "b"}})");
  EXPECT_EQ(full.kind, RequestKind::kLoglikelihood);
  EXPECT_THAT(error_of(R"({"type": "loglikelihood", "context": "a"})").message, HasSubstr("continuation is missing"));
}

TEST(Request, NullIsAsGoodAsAbsent) {
  const Request r = request_of(R"({"prompt": "a", "max_tokens": null, "stop": null, "logprobs": null, "seed": null})");
  EXPECT_EQ(r.max_tokens, 16);
  EXPECT_EQ(r.sampling.seed, 77u);
  EXPECT_FALSE(r.has_seed);
  EXPECT_TRUE(r.unknown_fields.empty());
}

TEST(Request, EachFieldIsChecked) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("max_tokens": 1.5)", "max_tokens is 1.5, expected an integer from 1 to 2147483647"},
      {R"("max_tokens": 0)", "max_tokens is 0"},
      {R"("max_tokens": 99999999999999999999)", "max_tokens is 1e+20"},
      {R"("max_tokens": 18446744073709551615)", "max_tokens is 18446744073709551615"},
      {R"("max_tokens": "5")", "max_tokens is '5'"},
      {R"("max_tokens": true)", "max_tokens is true"},
      {R"("min_tokens": 17)", "min_tokens is 17, expected at most max_tokens, 16"},
      {R"("temperature": -1)", "temperature is -1"},
      {R"("temperature": 1e-9)", "temperature is 1e-09"},
      {R"("temperature": 1e300)", "temperature is 1e+300"},
      {R"("temperature": "hot")", "temperature is 'hot', expected a number"},
      {R"("top_p": 0)", "top_p is 0"},
      {R"("top_p": 1.01)", "top_p is 1.01"},
      {R"("top_k": -2)", "top_k is -2"},
      {R"("min_p": 2)", "min_p is 2"},
      {R"("seed": 1.0)", "seed is 1.0"},
      {R"("stop": "")", "stop has ''"},
      {R"("stop_token_ids": 5)", "stop_token_ids is 5, expected a list"},
      {R"("stop_token_ids": [1000])", "stop_token_ids has 1000, expected token ids from 0 to 999"},
      {R"("stop_token_ids": [-1])", "stop_token_ids has -1"},
      {R"("best_of": 1, "n": 2)", "best_of is 1, expected at least n, 2"},
      {R"("best_of": 129)", "best_of is 129, expected an integer from 1 to 128"},
      {R"("truncate_prompt_tokens": 0)", "truncate_prompt_tokens is 0"},
      {R"("sampling_params": {"temperature": 0})", "sampling_params is"},
      {R"("do_sample": false)", "do_sample is false"},
      {R"("truncate_prompt_tokens": -2)", "truncate_prompt_tokens is -2, expected an integer from -1"},
      {R"("stop": [1])", "stop has 1"},
      {R"("n": 0)", "n is 0, expected an integer from 1 to 128"},
      {R"("n": 129)", "n is 129"},
      {R"("logprobs": 21)", "logprobs is 21"},
      {R"("logprobs": true)", "logprobs is true"},
      {R"("echo": 1)", "echo is 1, expected true or false"},
      {R"("logit_bias": {"1000": 1})", "logit_bias has the key '1000', expected a token id from 0 to 999"},
      {R"("logit_bias": {"01": 1})", "logit_bias has the key '01'"},
      {R"("logit_bias": {"1": 101})", "logit_bias of token 1 is 101, expected a number from -100 to 100"},
      {R"("logit_bias": {"1": null})", "logit_bias of token 1 is null"},
      {R"("logit_bias": [1])", "logit_bias is a list of 1"},
      {R"("presence_penalty": 2.1)", "presence_penalty is 2.1"},
      {R"("frequency_penalty": -3)", "frequency_penalty is -3"},
      {R"("repetition_penalty": 0)", "repetition_penalty is 0"},
      {R"("ignore_eos": "no")", "ignore_eos is 'no'"},
      {R"("stream": true)", "stream is true"},
      {R"("model": 5)", "model is 5, expected a string"},
      {R"("custom_id": 5)", "custom_id is 5, expected a string"},
      {R"("type": "embedding")", "type is 'embedding'"},
  };
  for (const auto& [field, expected] : cases)
    EXPECT_THAT(error_of(std::string(R"({"prompt": "a", )") + field + "}").message, HasSubstr(expected));
}

TEST(Request, PromptsAndMessagesAreChecked) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"max_tokens": 1})", "prompt is missing"},
      {R"({"prompt": ""})", "prompt is ''"},
      {R"({"prompt": []})", "prompt is a list of 0"},
      {R"({"prompt": {}})", "prompt is an object"},
      {R"({"prompt": [1, 1000]})", "prompt[1] is 1000, expected a token id from 1 to 999"},
      {R"({"prompt": [0]})", "prompt[0] is 0"},
      {R"({"prompt": [-1]})", "prompt[0] is -1"},
      {R"({"prompt": [1, "a"]})", "prompt[1] is 'a'"},
      {R"({"prompt": ["a", ""]})", "prompt[1] is ''"},
      {R"({"prompt": ["a", [2.5]]})", "prompt[1][0] is 2.5"},
      {R"({"messages": []})", "messages is a list of 0"},
      {R"({"messages": [1]})", "messages[0] is 1"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content is missing"},
      {R"({"messages": [{"content": "a"}]})", "messages[0].role is missing"},
      {R"({"messages": [{"role": "pope", "content": "a"}]})", "no role 'pope'"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages[0].content has a part"},
      {R"({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2})", "top_logprobs is 2"},
      {R"({"messages": [{"role": "user", "content": "a"}], "max_tokens": 2, "max_completion_tokens": 3})",
       "one of them"},
  };
  expect_errors(cases);
}

TEST(Request, TheEnvelopeIsChecked) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"url": "/v1/completions", "body": {"prompt": "a"}})", "custom_id is missing"},
      {R"({"custom_id": "c", "method": "GET", "url": "/v1/completions", "body": {"prompt": "a"}})", "method is 'GET'"},
      {R"({"custom_id": "c", "url": "/v1/embeddings", "body": {}})", "url is '/v1/embeddings'"},
      {R"({"custom_id": "c", "body": {"prompt": "a"}})", "url is missing"},
      {R"({"custom_id": "c", "url": "/v1/completions"})", "body is missing"},
      {R"({"custom_id": "c", "url": "/v1/completions", "body": []})", "body is a list of 0"},
      {R"({"custom_id": "c", "url": "/v1/completions", "body": {}})", "prompt is missing"},
  };
  expect_errors(cases);
  EXPECT_EQ(error_of(cases[1].first).custom_id, "c");
  EXPECT_FALSE(error_of(cases[0].first).custom_id);
}

TEST(Request, LinesAreCheckedForHygiene) {
  const auto deep = [](int depth) {
    return R"({"prompt": "a", "x": )" + std::string(static_cast<std::size_t>(depth - 1), '[') +
           std::string(static_cast<std::size_t>(depth - 1), ']') + "}";
  };
  EXPECT_EQ(request_of(deep(kDeepestNesting)).unknown_fields.size(), 1u);
  const std::pair<std::string, const char*> cases[] = {
      {deep(kDeepestNesting + 1), "nested more than 64 levels deep"},
      {R"({"prompt": ")" + std::string(1000000, '['), "not valid JSON"},
      {std::string(5000000, '['), "nested more than 64"},
      {R"({"prompt": "a", "prompt": "b"})", "the key 'prompt' is there twice"},
      {R"({"prompt": "a", "pro\u006dpt": "b"})", "the key 'prompt' is there twice"},
      {R"({"prompt": "a", "x": {"y": 1, "y": 2}})", "the key 'y' is there twice"},
      {"{\"prompt\": \"\xC0\x80\"}", "not UTF-8 (byte 12 is 0xc0)"},
      {"{\"prompt\": \"\xED\xA0\x80\"}", "not UTF-8"},
      {R"({"prompt": "\ud800"})", "not valid JSON"},
      {std::string("{\"prompt\": \"a\0\"}", 16), "a NUL byte (at byte 13)"},
      {R"({"prompt": "a"} x)", "not valid JSON (at byte"},
      {R"({"prompt": "a"}{"prompt": "b"})", "not valid JSON"},
      {R"({"prompt": "a", "temperature": NaN})", "not valid JSON"},
      {R"({"prompt": "a", "temperature": 1e999})", "not valid JSON: number overflow"},
      {R"({"prompt": "a")", "not valid JSON"},
      {"[1]", "not a JSON object but a list of 1"},
      {"Once upon", "not valid JSON"},
      {"", "not valid JSON"},
      {std::string(kLargestLine_bytes + 1, ' '), "longer than 16 MiB"},
  };
  for (const auto& [line, expected] : cases) {
    const std::string message = error_of(line).message;
    EXPECT_THAT(message, HasSubstr(expected));
    EXPECT_LT(message.size(), 300u);
  }
  EXPECT_THAT(error_of("a\xFF", LineFormat::kText).message, HasSubstr("not UTF-8"));
}

}  // namespace
}  // namespace moesaic::openai
