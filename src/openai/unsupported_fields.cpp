#include "openai/unsupported_fields.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "openai/json_line.hpp"

namespace moesaic::openai {
namespace {

using nlohmann::json;

/// A field that is refused with all values but some.
struct Refused {
  const char* name;
  const char* harmless;  // a JSON list of the values that ask for nothing; null always does
  const char* reason;
};

constexpr const char* kNoCalls = "functions are not called";
constexpr const char* kNoGrammar = "answers are not held to a form";
constexpr const char* kNoSampler = "tokens are not drawn so; docs/numerics.md has the options of sampling";
constexpr const char* kTextOnly = "prompts and answers are text";
constexpr const char* kOwnLevel = "give its fields beside the prompt or messages";

constexpr Refused kRefused[] = {
    // OpenAI's.
    {"tool_choice", R"(["none", "auto"])", kNoCalls},
    {"function_call", R"(["none", "auto"])", kNoCalls},
    {"suffix", R"([""])", "text that is to end before another is not written"},
    {"modalities", R"([[], ["text"]])", kTextOnly},
    {"audio", "[{}]", kTextOnly},
    {"web_search_options", "[{}]", "nothing is searched"},
    // vLLM's and SGLang's: what an answer may be.
    {"guided_json", R"(["", {}])", kNoGrammar},
    {"guided_regex", R"([""])", kNoGrammar},
    {"guided_choice", "[[]]", kNoGrammar},
    {"guided_grammar", R"([""])", kNoGrammar},
    {"structured_outputs", "[{}]", kNoGrammar},
    {"structural_tag", R"([""])", kNoGrammar},
    {"regex", R"([""])", kNoGrammar},
    {"ebnf", R"([""])", kNoGrammar},
    {"grammar", R"([""])", kNoGrammar},
    {"json_schema", R"(["", {}])", kNoGrammar},
    // How it is drawn.
    {"use_beam_search", "[false]", kNoSampler},
    {"length_penalty", "[1]", kNoSampler},
    {"early_stopping", "[false]", kNoSampler},
    {"logits_processors", "[[]]", kNoSampler},
    {"custom_logit_processor", R"([""])", kNoSampler},
    {"custom_params", "[{}]", kNoSampler},
    {"vllm_xargs", "[{}]", kNoSampler},
    {"allowed_token_ids", "[[]]", "give logit_bias: -100 for the others"},
    {"bad_words", "[[]]", "give logit_bias with -100 for their tokens"},
    {"mirostat", "[0]", kNoSampler},
    {"typical_p", "[1]", kNoSampler},
    {"tfs_z", "[1]", kNoSampler},
    {"top_n_sigma", "[-1, 0]", kNoSampler},
    {"dry_multiplier", "[0]", kNoSampler},
    {"dynatemp_range", "[0]", kNoSampler},
    {"xtc_probability", "[0]", kNoSampler},
    {"repeat_penalty", "[1]", "its name here is repetition_penalty"},
    {"do_sample", "[true]", "temperature 0 gives the most probable token each time"},
    {"num_beams", "[1]", kNoSampler},
    {"num_beam_groups", "[1]", kNoSampler},
    {"no_repeat_ngram_size", "[0]", kNoSampler},
    {"penalty_alpha", "[0]", kNoSampler},
    {"top_a", "[0]", kNoSampler},
    {"eta_cutoff", "[0]", kNoSampler},
    {"epsilon_cutoff", "[0]", kNoSampler},
    {"mirostat_mode", "[0]", kNoSampler},
    {"samplers", "[]", kNoSampler},
    {"num_return_sequences", "[1]", "its name here is n"},
    // Options in an object of their own, as other servers take them.
    {"sampling_params", "[{}]", kOwnLevel},
    {"parameters", "[{}]", kOwnLevel},
    {"options", "[{}]", kOwnLevel},
    {"generation_config", "[{}]", kOwnLevel},
    {"extra_body", "[{}]", kOwnLevel},
    // How long it is.
    {"max_new_tokens", "[]", "its name here is max_tokens"},
    {"n_predict", "[-1]", "its name here is max_tokens"},
    {"max_tokens_to_sample", "[]", "its name here is max_tokens"},
    {"max_output_tokens", "[]", "its name here is max_tokens"},
    {"max_length", "[]", "its name here is max_tokens, without the prompt's"},
    {"min_length", "[0]", "its name here is min_tokens, without the prompt's"},
    {"stop_sequences", "[[]]", "its name here is stop"},
    {"eos_token_id", "[]", "its name here is stop_token_ids"},
    {"truncation_side", R"(["left"])", "a prompt loses its beginning"},
    {"min_new_tokens", "[0]", "its name here is min_tokens"},
    {"stop_regex", R"(["", []])", "give texts as stop"},
    {"repetition_detection", "[]", "an answer does not end so"},
    {"thinking_token_budget", "[]", "an answer has one part"},
    // What the model sees.
    {"prompt_embeds", "[[]]", kTextOnly},
    {"input_ids", "[]", "its name here is prompt"},
    {"documents", "[[]]", "put them into the messages"},
    {"chat_template", R"([""])", "all chats of a run have the one of --chat-template"},
    {"chat_template_kwargs", "[{}]", "a chat template takes none"},
    {"add_special_tokens", "[false]", "none are added; give the prompt as token ids with them"},
    {"lora_path", R"([""])", "a run has one set of weights"},
    {"lora", "[[]]", "a run has one set of weights"},
    {"adapter_id", R"([""])", "a run has one set of weights"},
    {"system", R"([""])", "give it as the first of messages"},
    {"add_bos_token", "[false]", "none is added; give the prompt as token ids with it"},
    {"negative_prompt", R"([""])", kNoSampler},
    {"guided_decoding", "[{}]", kNoGrammar},
    {"response_schema", "[{}]", kNoGrammar},
    {"format", R"(["", "text"])", kNoGrammar},
    // What the result shows.
    {"prompt_logprobs", "[]", "give echo with logprobs, for completions"},
    {"include_stop_str_in_output", "[false]", "what ends an answer is not part of it"},
    {"no_stop_trim", "[false]", "what ends an answer is not part of it"},
    {"skip_special_tokens", "[true]", "control tokens have no text; return_token_ids shows them"},
    {"return_tokens_as_token_ids", "[false]", "give return_token_ids"},
    {"detokenize", "[true]", "give return_token_ids"},
    {"n_probs", "[0]", "its name here is logprobs"},
    {"top_n_tokens", "[0]", "its name here is logprobs"},
    {"return_logprob", "[false]", "its name here is logprobs"},
    {"return_hidden_states", "[false]", "moesaic logits --hidden has them"},
};

/// Fields that one kind of request has and the other has not.
constexpr Refused kOnlyOfCompletions[] = {
    {"echo", "[false]", "a chat's prompt is not part of its answer; completions have it"},
};
constexpr Refused kOnlyOfChats[] = {
    {"max_completion_tokens", "[]", "its name in completions is max_tokens"},
    {"top_logprobs", "[0]", "its name in completions is logprobs"},
    {"continue_final_message", "[false]", "only chats have messages"},
};

/// Who asks, how soon and how it is billed or cached; and what only matters where a refused field does.
constexpr const char* kHarmless[] = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "priority",
    "request_id",
    "cache_salt",
    "prediction",
    "parallel_tool_calls",
    "spaces_between_special_tokens",
    "cache_prompt",
};

void refuse(Fields& fields, const Refused& field) {
  const json* value = fields.find(field.name);
  if (!value) return;
  for (const json& harmless : parse_json(field.harmless, field.name))
    if (*value == harmless) return;
  fail("{} is {}, which cannot be done: {}", field.name, describe(*value), field.reason);
}

/// "tools" and "functions", unless `choice` says that none of them is to be used.
void refuse_calls(Fields& fields, const char* name, const char* choice) {
  const json* list = fields.find(name);
  const json* chosen = fields.find(choice);
  if (!list || (list->is_array() && list->empty()) || (chosen && *chosen == "none")) return;
  fail("{} is {}, expected none, or {}: 'none' with it: {}", name, describe(*list), choice, kNoCalls);
}

void refuse_formats(Fields& fields) {
  const json* format = fields.find("response_format");
  if (!format) return;
  const auto type = format->is_object() ? format->find("type") : format->end();
  if (!format->is_object() || type == format->end() || *type != "text")
    fail("response_format is {}, expected {{\"type\": \"text\"}}: {}",
         format->is_object() && type != format->end() ? "of the type " + describe(*type) : describe(*format),
         kNoGrammar);
  Fields within(*format);
  within.ignore("type");
  fields.add_unknown(within, "response_format.");
}

/// Usage is part of every result.
void pass_stream_options(Fields& fields) {
  const json* options = fields.find("stream_options");
  if (!options) return;
  if (!options->is_object()) fail("stream_options is {}, expected an object", describe(*options));
  Fields within(*options);
  for (const char* name : {"include_usage", "continuous_usage_stats", "include_obfuscation"}) within.ignore(name);
  fields.add_unknown(within, "stream_options.");
}

}  // namespace

void check_unsupported(Fields& fields, RequestKind kind) {
  refuse_calls(fields, "tools", "tool_choice");
  refuse_calls(fields, "functions", "function_call");
  refuse_formats(fields);
  pass_stream_options(fields);
  for (const Refused& field : kRefused) refuse(fields, field);
  if (kind == RequestKind::kChat)
    for (const Refused& field : kOnlyOfCompletions) refuse(fields, field);
  else
    for (const Refused& field : kOnlyOfChats) refuse(fields, field);
  for (const char* name : kHarmless) fields.ignore(name);
}

}  // namespace moesaic::openai
