#include "apps/prompts.hpp"

#include <sstream>

#include "base/error.hpp"
#include "io/file.hpp"
#include "io/foreign_format.hpp"
#include "io/token_file.hpp"

namespace moesaic::apps {
namespace {

namespace po = boost::program_options;

constexpr std::int64_t kLargestFile_bytes = std::int64_t{1} << 30;

std::vector<std::string> read_lines(const std::string& path) {
  const std::string text = io::read_text_file(path, kLargestFile_bytes);
  io::require_text(text, path);
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(std::move(line));
  }
  if (lines.empty()) fail("--prompt-file {}: has no line, expected one prompt a line", path);
  return lines;
}

/// Where prompt i stands, as a message names it.
std::string place_of(const PromptOptions& options, std::size_t i) {
  if (!options.token_file.empty()) return fmt::format("{}: list {}", options.token_file, i);
  if (!options.prompt_file.empty()) return fmt::format("{}: line {}", options.prompt_file, i + 1);
  return options.prompts.size() == 1 ? "--prompt" : fmt::format("--prompt number {}", i + 1);
}

}  // namespace

po::options_description prompt_options(PromptOptions& options) {
  po::options_description description("prompts (one of)");
  // clang-format off
  description.add_options()
      ("prompt", po::value(&options.prompts), "a text; may be repeated")
      ("prompt-file", po::value(&options.prompt_file), "a file with one prompt a line")
      ("tokens", po::value(&options.token_file), "a JSON list of token lists")
      ("truncate", po::value<std::string>()->notifier([&](const std::string& side) {
         if (side != "left") fail("--truncate is '{}', expected left", side);
         options.truncate_left = true;
       }), "left: a prompt longer than the context loses its beginning; otherwise it is refused");
  // clang-format on
  return description;
}

void check(const PromptOptions& options) {
  const int sources = !options.prompts.empty() + !options.prompt_file.empty() + !options.token_file.empty();
  if (sources != 1)
    fail("{} of --prompt, --prompt-file and --tokens given, expected exactly one", sources == 0 ? "none" : "several");
}

std::vector<std::vector<std::int32_t>> read_prompts(const PromptOptions& options, const ModelConfig& config,
                                                    const io::Tokenizer* tokenizer, const std::string& store) {
  std::vector<std::vector<std::int32_t>> prompts;
  if (!options.token_file.empty()) {
    prompts = io::read_token_file(options.token_file, {config.vocab_size, {}});
  } else {
    if (!tokenizer) fail("{}: has no tokenizer, so it takes --tokens only; convert again with --tokenizer FILE", store);
    for (const std::string& text : options.prompt_file.empty() ? options.prompts : read_lines(options.prompt_file))
      prompts.push_back(tokenizer->encode(text));
  }
  const auto longest = static_cast<std::size_t>(config.sequence_len);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::string what = place_of(options, i);
    if (options.truncate_left && prompts[i].size() > longest)
      prompts[i].erase(prompts[i].begin(), prompts[i].end() - static_cast<std::ptrdiff_t>(longest));
    if (prompts[i].empty()) fail("{} is empty, expected a text", what);
    if (prompts[i].size() > longest)
      fail("{} has {} tokens, the model's context is {}; shorten it, or give --truncate left", what, prompts[i].size(),
           longest);
    io::check_tokens(prompts[i], what, {config.vocab_size, config.sequence_len});
  }
  return prompts;
}

}  // namespace moesaic::apps
