#include <gtest/gtest.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "openai/parse_line.hpp"
#include "openai/record.hpp"
#include "openai/request.hpp"

namespace moesaic::openai {
namespace {

const std::vector<std::string> kLines = {
    R"({"prompt": "Once upon a time", "max_tokens": 32, "temperature": 0.7, "top_p": 0.9, "top_k": 40, "seed": 5})",
    R"({"custom_id": "a-1", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": ["a", [1, 2]], "n": 2,
       "stop": ["\n", "\u00e9"], "logprobs": 3, "echo": true, "logit_bias": {"5": -100, "7": 2.5}, "min_p": 0.05}})",
    R"({"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"role": "system", "content":
       "Be kind"}, {"role": "user", "content": [{"type": "text", "text": "Hi \ud83d\ude00"}]}], "logprobs": true, "top_logprobs": 2}})",
    R"({"type": "loglikelihood", "context": "The sky is", "continuation": " blue"})",
    R"({"custom_id": "l", "url": "/v1/loglikelihood", "body": {"context": [1, 2, 3], "continuation": [4]}})",
};

/// What is put in: pieces of JSON, numbers at limits, bytes that are no UTF-8.
const std::vector<std::string> kPieces = {
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "null",
    "true",
    "-",
    "1e999",
    "NaN",
    "99999999999999999999",
    "-9223372036854775808",
    "0.1",
    "\\u0000",
    "\\ud800",
    std::string(1, '\0'),
    "\xC0\x80",
    "\xED\xA0\x80",
    "\xF4\x90\x80\x80",
    "\xEF\xBB\xBF",
    "\r",
    "\"prompt\":",
    "\"n\": 128,",
    "\"body\": {}",
    std::string(100, '['),
    std::string(70, '{'),
    "\"temperature\": -0.0,",
    "//",
};

std::string mutated(std::mt19937_64& random) {
  std::string line = kLines[random() % kLines.size()];
  for (std::uint64_t i = 1 + random() % 3; i > 0; --i) {
    const std::size_t at = random() % (line.size() + 1), size = random() % 20;
    switch (random() % 10) {
      case 0:  // a bit
        if (at < line.size()) line[at] = static_cast<char>(line[at] ^ (1 << random() % 8));
        break;
      case 1:
        line.erase(at, size);
        break;
      case 2:
        line.insert(at, kPieces[random() % kPieces.size()]);
        break;
      case 3:  // twice
        line.insert(at, line.substr(at, size));
        break;
      case 4:
        line.resize(at);
        break;
      case 5:  // the end of another
        line = line.substr(0, at) + kLines[random() % kLines.size()].substr(at % 50);
        break;
      default:  // another digit or letter
        if (at < line.size() && std::isalnum(static_cast<unsigned char>(line[at])))
          line[at] = "0123456789abcdeE-. "[random() % 19];
    }
  }
  return line;
}

/// All that a request says, or an error.
std::string summary(const std::variant<Request, LineError>& parsed) {
  if (const auto* error = std::get_if<LineError>(&parsed)) return error->message + error->custom_id.value_or("-");
  const auto& r = std::get<Request>(parsed);
  std::string text = fmt::format("{} {} {} {} {} {} {} {} {}", static_cast<int>(r.kind), r.custom_id.value_or("-"),
                                 r.max_tokens.value_or(-1), r.min_tokens, r.num_choices, r.log_probs.value_or(-1),
                                 r.sampling.temperature, r.sampling.top_p, r.sampling.seed);
  for (const std::string& stop : r.stop_strings) text += stop;
  for (const Prompt& prompt : r.prompts)
    if (const auto* given = std::get_if<std::string>(&prompt)) text += *given;
  return text;
}

void check_limits(const Request& r) {
  EXPECT_FALSE(r.prompts.empty());
  EXPECT_TRUE(r.num_choices >= 1 && r.num_choices <= 128);
  EXPECT_TRUE(r.sampling.temperature == 0 || (r.sampling.temperature >= 1e-6f && r.sampling.temperature <= 1e6f));
  EXPECT_TRUE(r.sampling.top_p > 0 && r.sampling.top_p <= 1);
  EXPECT_TRUE(r.sampling.top_k >= 0 && r.min_tokens >= 0 && r.max_tokens.value_or(0) >= 0);
  for (const Prompt& prompt : r.prompts) {
    const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt);
    for (const std::int32_t id : ids ? *ids : std::vector<std::int32_t>()) EXPECT_TRUE(id > 0 && id < 1000);
  }
}

TEST(Mutations, EveryLineIsARequestOrAnErrorRecord) {
  const ChatTemplate chat = ChatTemplate::plain();
  const RequestDefaults defaults{1000, 0, &chat};
  std::mt19937_64 random(11);
  int num_requests = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string line = mutated(random);
    for (const LineFormat format : {LineFormat::kJson, LineFormat::kText}) {
      const auto parsed = parse_line(line, format, defaults);
      ASSERT_EQ(summary(parsed), summary(parse_line(line, format, defaults))) << line;
      if (const auto* request = std::get_if<Request>(&parsed)) {
        check_limits(*request);
        num_requests += format == LineFormat::kJson;
        continue;
      }
      const auto& error = std::get<LineError>(parsed);
      ASSERT_FALSE(error.message.empty());
      ASSERT_LT(error.message.size(), 400u) << error.message;
      const std::string record = error_record(record_id(i, line), error.custom_id, "invalid_request", error.message);
      ASSERT_FALSE(first_invalid_utf8(record));
      ASSERT_EQ(record.find('\n'), record.size() - 1);
      ASSERT_TRUE(nlohmann::json::accept(record));
    }
  }
  EXPECT_GT(num_requests, 250);  // mutations also reach what lies behind the parser
  EXPECT_LT(num_requests, 4000);
}

}  // namespace
}  // namespace moesaic::openai
