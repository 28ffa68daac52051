#include "config/arch_spec.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../io/expect_error.hpp"
#include "config/arch_fields.hpp"
#include "config/config_file.hpp"
#include "config/grok1.hpp"

namespace moesaic {
namespace {

using nlohmann::json;

/// Grok-1's sizes with the operations of Mixtral, Qwen3-MoE or Grok-2, as far as these differ.
ModelConfig with(const ArchSpec& arch) {
  ModelConfig config = kGrok1;
  config.arch = arch;
  return config;
}
constexpr ArchSpec kMixtral{.gates = Gates::kRenormalised, .rope_base = 1e6};

TEST(ArchSpec, GrokOnesStoresHaveNoArchitecture) {
  const json object = to_json(kGrok1);
  EXPECT_FALSE(object.contains("architecture"));
  EXPECT_EQ(object.size(), 19u);
  EXPECT_EQ(model_config_from_json(object, "grok"), kGrok1);
  EXPECT_EQ(unsupported(kGrok1Arch), "");
}

TEST(ArchSpec, SurvivesAStore) {
  ArchSpec arch = kMixtral;
  arch.qk_norm = QkNorm::kWidth;
  arch.dense_ffn_size = 96;
  arch.residual_multiplier = 0.22f;
  ArchSpec copy = kGrok1Arch;
  read_architecture(to_json(with(arch))["architecture"], copy, "store");
  EXPECT_EQ(architecture_to_json(copy), architecture_to_json(arch));
}

TEST(ArchSpec, RefusalsNameTheOperationsThatAreMissing) {
  const std::string missing = unsupported(kMixtral);
  for (const char* field : {"block_norms before", "activation silu", "gates renormalised", "tied_head false"})
    EXPECT_NE(missing.find(field), std::string::npos) << missing;
  ArchSpec grok2 = kGrok1Arch;
  grok2.attn_temperature_len = 1024;
  EXPECT_ERROR(check(with(grok2), "grok-2.h5"),
               "grok-2.h5: this version of Moesaic has no operation for "
               "attn_temperature_len 1024");
}

TEST(ArchSpec, RefusesFieldsAndValuesThatItDoesNotKnow) {
  ArchSpec arch;
  EXPECT_ERROR(read_architecture({{"clip_qkv", 8}}, arch, "s"), "'clip_qkv', which this version does not know");
  EXPECT_ERROR(read_architecture({{"activation", "relu"}}, arch, "s"), "'activation' is \"relu\"");
  EXPECT_ERROR(read_architecture({{"tied_head", 1}}, arch, "s"), "'tied_head' is 1");
}

}  // namespace
}  // namespace moesaic
