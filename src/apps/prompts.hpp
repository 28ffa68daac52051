#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "config/model_config.hpp"
#include "io/tokenizer.hpp"

namespace moesaic::apps {

/// Where the prompts of `generate` come from: exactly one of these.
struct PromptOptions {
  std::vector<std::string> prompts;
  std::string prompt_file;
  std::string token_file;
  bool truncate_left = false;
};

/// --prompt, --prompt-file, --tokens, --truncate.
boost::program_options::options_description prompt_options(PromptOptions& options);

/// Error when not exactly one source is given.
void check(const PromptOptions& options);

/// The prompts as tokens. Error: names the prompt that is empty, too long for the context or has a bad token.
std::vector<std::vector<std::int32_t>> read_prompts(const PromptOptions& options, const ModelConfig& config,
                                                    const io::Tokenizer* tokenizer, const std::string& store);

}  // namespace moesaic::apps
