#include "io/tensor_inventory.hpp"

#include <gtest/gtest.h>

#include "expect_error.hpp"
#include "small_store.hpp"

namespace moesaic::io {
namespace {

TEST(TensorInventory, GrokOneHasItsPublishedSize) {
  const auto tensors = tensor_inventory(kGrok1, {});
  EXPECT_EQ(tensors.size(), 2u + 64 * 19);
  std::int64_t int8_bytes = 0;
  for (const auto& spec : tensors) int8_bytes += spec.dtype == DType::kInt8 ? spec.size_bytes() : 0;
  // 64 layers of 8 experts of 3*D*F and attention's 2*D*H*K + 2*D*G*K.
  EXPECT_EQ(int8_bytes, 64 * (8 * 3 * 6144LL * 32768 + 2 * 6144LL * 6144 + 2 * 6144LL * 1024));
}

TEST(TensorInventory, Int4HalvesTheInputs) {
  ModelConfig config = test::small_config();
  config.num_layers = 1, config.emb_size = 129;
  for (const auto& spec : tensor_inventory(config, {}, WeightFormat::kInt4)) {
    if (spec.name == "layers/0/moe/gate") {
      EXPECT_EQ(spec.shape, (std::vector<std::int64_t>{2, 8, 65, 2}));
    }
    if (spec.name == "layers/0/moe/gate_scales") {
      EXPECT_EQ(spec.shape, (std::vector<std::int64_t>{2, 8, 3, 2}));
    }
    if (spec.name == "layers/0/attn/out_scales") {
      EXPECT_EQ(spec.shape, (std::vector<std::int64_t>{8, 1, 129}));
    }
  }
}

class TensorInventoryOf : public testing::TestWithParam<WeightFormat> {};
INSTANTIATE_TEST_SUITE_P(Formats, TensorInventoryOf, testing::ValuesIn(kAllWeightFormats));

TEST_P(TensorInventoryOf, PiecesTileEveryTensor) {
  const auto tensors = tensor_inventory(test::small_config(), {1, 8}, GetParam());
  EXPECT_EQ(std::ssize(tensors), num_tensors(test::small_config(), GetParam()));
  for (const auto& spec : tensors) {
    std::int64_t at = 0;
    for (std::int64_t piece = 0; piece < spec.num_pieces(); ++piece) {
      EXPECT_EQ(spec.piece_offset_bytes(piece), at) << spec.name;
      EXPECT_GT(spec.piece_bytes(piece), 0) << spec.name;
      at += spec.piece_bytes(piece);
    }
    EXPECT_EQ(at, spec.size_bytes()) << spec.name;
  }
}

TEST(TensorInventory, NamesPiecesInWords) {
  const auto tensors = tensor_inventory(test::small_config(), {});
  EXPECT_EQ(tensors[0].describe_piece(1), "rows 64 to 69");
  EXPECT_EQ(tensors[1].describe_piece(0), "the whole tensor");
  for (const auto& spec : tensors) {
    if (spec.name == layer_tensor(ModelLayer(1), tensor_row(TensorRole::kMoeDown).name)) {
      EXPECT_EQ(spec.describe_piece(expert_piece(ExpertId(1), 5)), "expert 1, eighth 5");
    }
    if (spec.name == layer_tensor(ModelLayer(0), tensor_row(TensorRole::kQuery).name)) {
      EXPECT_EQ(spec.describe_piece(1), "kv head 1");
    }
  }
}

TEST(TensorInventory, RefusesSizesThatOverflow) {
  ModelConfig config = test::small_config();
  config.num_q_heads = config.key_size = config.emb_size = 1 << 24;
  EXPECT_ERROR((void)tensor_inventory(config, {}), "more than 2^62 bytes");
  EXPECT_ERROR((void)tensor_inventory(test::small_config(), {2, 8}), "expected 1 or 8");
}

}  // namespace
}  // namespace moesaic::io
