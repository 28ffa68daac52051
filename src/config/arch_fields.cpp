#include "config/arch_fields.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "config/grok1.hpp"

namespace moesaic {
namespace {

using nlohmann::json;

/// Fields of which the forward pass (src/model) has an operation for every value. Who writes the operation adds the
/// field; of the others it can do Grok-1's value alone.
constexpr std::array<std::string_view, 0> kImplemented{};

/// Does not compile when ArchSpec has gained or lost a field: then for_each_field() wants it too.
[[maybe_unused]] void know_all_fields(const ArchSpec& arch) {
  [[maybe_unused]] const auto& [block_norms, qk_norm, activation, gates, tied_head, dense_ffn_size, rms_norm_eps,
                                rope_base, embedding_multiplier, attn_output_multiplier, attn_logit_cap,
                                attn_temperature_len, router_logit_cap, residual_multiplier, output_multiplier,
                                final_logit_cap] = arch;
}

/// Calls visit(name, field of each of `archs`...) for the fields that a store's architecture has. The others (eps,
/// rope's base, the multipliers of embedding, attention and output, attention's cap) are numbers that every store has
/// among the fields of its configuration, and any of their values will do.
template <class Visit, class... Arch>
void for_each_field(Visit&& visit, Arch&... archs) {
  visit("block_norms", archs.block_norms...);
  visit("qk_norm", archs.qk_norm...);
  visit("activation", archs.activation...);
  visit("gates", archs.gates...);
  visit("tied_head", archs.tied_head...);
  visit("dense_ffn_size", archs.dense_ffn_size...);
  visit("attn_temperature_len", archs.attn_temperature_len...);
  visit("router_logit_cap", archs.router_logit_cap...);
  visit("residual_multiplier", archs.residual_multiplier...);
  visit("final_logit_cap", archs.final_logit_cap...);
}

template <class Field>
json value_of(Field field) {
  if constexpr (std::is_enum_v<Field>)
    return kChoiceNames<Field>[static_cast<std::size_t>(field)];
  else
    return field;
}

/// False when the value is none of the field's.
template <class Field>
bool take(const json& value, Field& field) {
  if constexpr (std::is_enum_v<Field>) {
    const auto& names = kChoiceNames<Field>;
    const auto found = value.is_string() ? std::ranges::find(names, value.get<std::string_view>()) : names.end();
    if (found != names.end()) field = static_cast<Field>(found - names.begin());
    return found != names.end();
  } else {
    const bool good = std::is_same_v<Field, bool> ? value.is_boolean()
                      : std::is_integral_v<Field> ? value.is_number_integer()
                                                  : value.is_number();
    if (good) field = value.get<Field>();
    return good;
  }
}

}  // namespace

std::string unsupported(const ArchSpec& arch) {
  std::string list;
  const json differences = architecture_to_json(arch);
  for (const auto& [key, value] : differences.items())
    if (std::ranges::find(kImplemented, key) == kImplemented.end())
      list += fmt::format("{}{} {}", list.empty() ? "" : ", ", key,
                          value.is_string() ? value.get<std::string>() : json_text(value));
  return list;
}

json architecture_to_json(const ArchSpec& arch) {
  json object = json::object();
  for_each_field(
      [&](const char* key, const auto& field, const auto& grok1) {
        if (field != grok1) object[key] = value_of(field);
      },
      arch, kGrok1Arch);
  return object;
}

void read_architecture(const json& object, ArchSpec& arch, const std::string& source) {
  if (!object.is_object()) fail("{}: the architecture is not a JSON object", source);
  for (const auto& [key, value] : object.items()) {
    bool known = false, good = false;
    for_each_field(
        [&](std::string_view name, auto& field) {
          if (name == key) known = true, good = take(value, field);
        },
        arch);
    if (!known) fail("{}: the architecture has '{}', which this version does not know", source, key);
    if (!good)
      fail("{}: the architecture's '{}' is {}, which this version does not know", source, key, json_text(value));
  }
}

}  // namespace moesaic
