#include "config/config_file.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "config/arch_fields.hpp"
#include "config/grok1.hpp"

namespace moesaic {
namespace {

using nlohmann::json;

/// Reads `key` into `field` when the object has it; a value of another type or range is an Error.
template <class T>
void read(const json& object, const char* key, T& field, const std::string& source) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  const bool good = std::is_integral_v<T> ? found->is_number_integer() : found->is_number();
  if (!good)
    fail("{}: '{}' is {}, expected {}", source, key, found->dump(), std::is_integral_v<T> ? "an integer" : "a number");
  field = found->get<T>();
}

/// Warns of the fields that are read by nobody, so that no user believes they had an effect.
void warn_of_others(const json& object, std::initializer_list<std::string_view> known, const std::string& source) {
  for (const auto& [key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      spdlog::warn("warning: {}: '{}' is not a field of the configuration and is ignored", source, key);
}

/// Calls visit(name, field) for the fields that every store has, with the names that it gives them.
template <class Config, class Visit>
void for_each_field(Config& c, Visit&& visit) {
  visit("vocab_size", c.vocab_size);
  visit("sequence_len", c.sequence_len);
  visit("emb_size", c.emb_size);
  visit("num_layers", c.num_layers);
  visit("num_q_heads", c.num_q_heads);
  visit("num_kv_heads", c.num_kv_heads);
  visit("key_size", c.key_size);
  visit("ffn_size", c.ffn_size);
  visit("num_experts", c.num_experts);
  visit("num_selected_experts", c.num_selected_experts);
  visit("pad_token", c.pad_token);
  visit("bos_token", c.bos_token);
  visit("eos_token", c.eos_token);
  visit("embedding_multiplier", c.arch.embedding_multiplier);
  visit("output_multiplier", c.arch.output_multiplier);
  visit("attn_output_multiplier", c.arch.attn_output_multiplier);
  visit("attn_logit_cap", c.arch.attn_logit_cap);
  visit("rms_norm_eps", c.arch.rms_norm_eps);
  visit("rope_base", c.arch.rope_base);
}

}  // namespace

std::int64_t ffn_size(std::int64_t emb_size, double widening_factor) {
  const auto wide = static_cast<std::int64_t>(widening_factor * static_cast<double>(emb_size));
  const std::int64_t size = wide * 2 / 3;
  return (size + 7) / 8 * 8;
}

void check(const ModelConfig& c, const std::string& source) {
  constexpr std::int64_t kLargest = std::int64_t{1} << 24;
  const auto need = [&](const char* field, std::int64_t value, bool good, const char* rule) {
    if (!good) fail("{}: {} is {}, expected {}", source, field, value, rule);
  };
  const auto in_range = [&](const char* field, std::int64_t value) {
    need(field, value, value >= 1 && value <= kLargest, "1 to 16777216");
  };
  in_range("vocab_size", c.vocab_size);
  in_range("sequence_len", c.sequence_len);
  in_range("emb_size", c.emb_size);
  in_range("num_layers", c.num_layers);
  in_range("num_q_heads", c.num_q_heads);
  in_range("num_kv_heads", c.num_kv_heads);
  in_range("key_size", c.key_size);
  in_range("ffn_size", c.ffn_size);
  in_range("num_experts", c.num_experts);
  need("num_experts", c.num_experts, c.num_experts <= 4096, "at most 4096");
  need("num_selected_experts", c.num_selected_experts,
       c.num_selected_experts >= 1 && c.num_selected_experts <= c.num_experts, "1 to num_experts");
  const auto is_token = [&](const char* field, std::int64_t token) {
    need(field, token, token >= 0 && token < c.vocab_size, "0 to vocab_size - 1");
  };
  is_token("bos_token", c.bos_token);
  is_token("eos_token", c.eos_token);
  need("pad_token", c.pad_token, c.pad_token == 0, "0: the id that prompts may not have");
  need("num_q_heads", c.num_q_heads, c.num_q_heads % c.num_kv_heads == 0, "a multiple of num_kv_heads");
  need("key_size", c.key_size, c.key_size % 2 == 0, "an even number (rotary embedding pairs its halves)");
  need("num_q_heads * key_size", c.attn_size(), c.attn_size() % kNumLeaves == 0,
       "a multiple of 8 (the leaves of the output projection)");
  need("ffn_size", c.ffn_size, c.ffn_size % kNumLeaves == 0, "a multiple of 8 (the leaves of the down projection)");
  const auto finite = [&](const char* field, double value, bool positive) {
    if (!std::isfinite(value) || (positive && value <= 0))
      fail("{}: {} is {}, expected a {}finite number", source, field, value, positive ? "positive " : "");
  };
  finite("embedding_multiplier", c.arch.embedding_multiplier, false);
  finite("output_multiplier", c.arch.output_multiplier, false);
  finite("attn_output_multiplier", c.arch.attn_output_multiplier, false);
  finite("attn_logit_cap", c.arch.attn_logit_cap, true);
  finite("rms_norm_eps", c.arch.rms_norm_eps, true);
  finite("rope_base", c.arch.rope_base, true);
  if (const std::string missing = unsupported(c.arch); !missing.empty())
    fail("{}: this version of Moesaic has no operation for {}", source, missing);
  // The maximum of a row's scores is taken to be the cap, so exp(-2 cap) must stay a normal number.
  if (c.arch.attn_logit_cap > 40) fail("{}: attn_logit_cap is {}, expected at most 40", source, c.arch.attn_logit_cap);
}

ModelConfig read_xai_config(const std::filesystem::path& file) {
  const std::string source = file.string();
  if (!std::filesystem::is_regular_file(file)) fail("{}: not a regular file", source);
  std::ifstream stream(file);
  if (!stream) fail("{}: cannot be opened", source);
  const json root = parse_json(std::string(std::istreambuf_iterator<char>(stream), {}), source);
  if (!root.is_object()) fail("{}: its JSON has no object at its top", source);

  ModelConfig c = kGrok1;
  read(root, "vocab_size", c.vocab_size, source);
  read(root, "sequence_len", c.sequence_len, source);
  read(root, "pad_token", c.pad_token, source);
  read(root, "bos_token", c.bos_token, source);
  read(root, "eos_token", c.eos_token, source);
  read(root, "embedding_multiplier_scale", c.arch.embedding_multiplier, source);
  read(root, "output_multiplier_scale", c.arch.output_multiplier, source);
  const auto found = root.find("model");
  if (found == root.end() || !found->is_object()) fail("{}: has no JSON object 'model'", source);
  const json& model = *found;
  read(model, "emb_size", c.emb_size, source);
  read(model, "num_layers", c.num_layers, source);
  read(model, "num_q_heads", c.num_q_heads, source);
  read(model, "num_kv_heads", c.num_kv_heads, source);
  read(model, "key_size", c.key_size, source);
  read(model, "num_experts", c.num_experts, source);
  read(model, "num_selected_experts", c.num_selected_experts, source);
  read(model, "attn_output_multiplier", c.arch.attn_output_multiplier, source);
  double widening_factor = 8;
  read(model, "widening_factor", widening_factor, source);
  if (!(widening_factor > 0 && widening_factor < 4096))
    fail("{}: widening_factor is {}, expected a positive number below 4096", source, widening_factor);
  c.ffn_size = ffn_size(c.emb_size, widening_factor);
  std::int64_t model_vocab_size = c.vocab_size;
  read(model, "vocab_size", model_vocab_size, source);
  if (!root.contains("vocab_size")) c.vocab_size = model_vocab_size;
  if (model_vocab_size != c.vocab_size)
    fail("{}: vocab_size is {} and model.vocab_size is {}, expected the same", source, c.vocab_size, model_vocab_size);
  warn_of_others(root,
                 {"vocab_size", "sequence_len", "pad_token", "bos_token", "eos_token", "embedding_multiplier_scale",
                  "output_multiplier_scale", "model"},
                 source);
  warn_of_others(model,
                 {"emb_size", "num_layers", "num_q_heads", "num_kv_heads", "key_size", "num_experts",
                  "num_selected_experts", "attn_output_multiplier", "widening_factor", "vocab_size"},
                 source);
  check(c, source);
  return c;
}

json to_json(const ModelConfig& config) {
  json object;
  for_each_field(config, [&](const char* key, const auto& field) { object[key] = field; });
  if (json architecture = architecture_to_json(config.arch); !architecture.empty())
    object["architecture"] = std::move(architecture);
  return object;
}

ModelConfig model_config_from_json(const json& object, const std::string& source) {
  if (!object.is_object()) fail("{}: the configuration is not a JSON object", source);
  ModelConfig config = kGrok1;
  for_each_field(config, [&](const char* key, auto& field) {
    if (!object.contains(key)) fail("{}: the configuration has no '{}'", source, key);
    read(object, key, field, source);
  });
  if (object.contains("architecture")) read_architecture(object["architecture"], config.arch, source);
  check(config, source);
  return config;
}

}  // namespace moesaic
