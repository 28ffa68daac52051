#include "store/convert.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "../io/expect_error.hpp"
#include "../io/small_store.hpp"
#include "../io/temporary_folder.hpp"
#include "comm/agree.hpp"
#include "io/store_reader.hpp"
#include "store/quantise.hpp"

namespace moesaic::converters {
namespace {

const comm::Communicator& world() {
  static const auto communicator = comm::Communicator::world();
  return communicator;
}

/// Weights of some inputs and columns, a scale each; every column is of its own kind.
struct Weights {
  std::vector<std::int8_t> weights;
  std::vector<float> scales;
  std::int64_t inputs;
  Weights(std::int64_t num_inputs, std::int64_t columns) : inputs(num_inputs) {
    std::mt19937 random(5);
    for (std::int64_t c = 0; c < columns; ++c) scales.push_back(0.01f * static_cast<float>(c + 1));
    for (std::int64_t i = 0; i < inputs * columns; ++i)
      weights.push_back(i % columns == 3 ? std::int8_t{0}
                                         : static_cast<std::int8_t>(static_cast<int>(random() % 256) - 128));
  }
  std::int64_t columns() const { return std::ssize(scales); }
  Int8Piece piece() const { return {weights, scales}; }
  float at(std::int64_t i, std::int64_t c) const {
    return static_cast<float>(weights[static_cast<std::size_t>(i * columns() + c)]) *
           scales[static_cast<std::size_t>(c)];
  }
};

struct Int4 {
  std::vector<std::uint8_t> weights;
  std::vector<Bf16> scales;
  std::int64_t columns;
  explicit Int4(const Weights& w)
      : weights(static_cast<std::size_t>((w.inputs + 1) / 2 * w.columns())),
        scales(static_cast<std::size_t>(int4_groups(w.inputs) * w.columns())),
        columns(w.columns()) {
    to_int4(w.piece(), weights, scales);
  }
  int q(std::int64_t i, std::int64_t c) const {
    const int half = weights[static_cast<std::size_t>(i / 2 * columns + c)] >> (i % 2 * 4) & 15;
    return half < 8 ? half : half - 16;
  }
  float scale(std::int64_t i, std::int64_t c) const {
    return to_float(scales[static_cast<std::size_t>(i / kInt4GroupInputs * columns + c)]);
  }
};

TEST(Quantise, Int4IsTheNearestOfItsScale) {
  const Weights w(131, 21);
  const Int4 int4(w);
  double error = 0, squares = 0;
  for (std::int64_t c = 0; c < w.columns(); ++c)
    for (std::int64_t i = 0; i < w.inputs; ++i) {
      const float scale = int4.scale(i, c), x = w.at(i, c), found = static_cast<float>(int4.q(i, c)) * scale;
      if (c == 3) {  // zeros
        EXPECT_EQ(found, 0.0f);
      } else {
        EXPECT_EQ(int4.q(i, c), std::clamp(std::nearbyint(x * (1.0f / scale)), -8.0f, 7.0f)) << i << " " << c;
      }
      error += (x - found) * (x - found);
      squares += x * x;
    }
  for (std::int64_t c = 0; c < w.columns(); ++c)  // the partner of the odd last input
    EXPECT_EQ(int4.weights[static_cast<std::size_t>(65 * w.columns() + c)] >> 4, 0);
  EXPECT_LE(std::sqrt(error / squares), 0.09);  // uniform weights: (2/15) / sqrt(12) of the range is 0.067 of the rms
}

TEST(Quantise, Int4KeepsWhatItCanHold) {
  Weights w(64, 8);
  for (std::size_t i = 0; i < w.weights.size(); ++i)
    w.weights[i] = static_cast<std::int8_t>(16 * (static_cast<int>(i / 8 % 16) - 8));
  for (auto& scale : w.scales) scale = 0.25f;
  const Int4 int4(w);
  for (std::int64_t i = 0; i < 64; ++i) EXPECT_EQ(static_cast<float>(int4.q(i, 2)) * int4.scale(i, 2), w.at(i, 2));
}

TEST(Quantise, RefusesWhatIsNotFinite) {
  Weights w(2, 2);
  w.scales[1] = 1e38f;
  EXPECT_ERROR(Int4{w}, "not finite");
}

class ConvertStore : public testing::Test {
 protected:
  ConvertStore() {
    if (world().rank() == 0) folder = std::make_unique<test::TemporaryFolder>();
    if (folder) path = folder->path().string();
    world().broadcast(path, 0);
    comm::on_root(world(), [&] { write_source(file("int8.h5")); });
  }
  ~ConvertStore() override { world().barrier(); }
  std::string file(const std::string& name) const { return path + "/" + name; }

  /// A small store whose scales are sane numbers.
  static void write_source(const std::string& path) {
    io::NewStore store{test::small_config(), {8, 1}};
    store.provenance = R"({"source_format": "test"})";
    store.tokenizer_model = "not a real tokenizer";
    store.tokenizer_pieces = 3;
    io::StoreDraft draft(path, store, false);
    io::PieceWriter writer(draft.temporary_path(), draft.index());
    for (std::size_t t = 0; t < draft.index().tensors().size(); ++t) {
      const auto& spec = draft.index().tensors()[t].spec;
      auto bytes = test::small_tensor(t, spec.size_bytes());
      auto* values = reinterpret_cast<float*>(bytes.data());
      for (std::int64_t i = 0; spec.dtype == DType::kF32 && i < spec.num_elems(); ++i)
        values[i] = 0.001f * static_cast<float>(1 + (i * 7 + static_cast<std::int64_t>(t)) % 50);
      writer.write(t, 0, bytes);
    }
    draft.record(writer.finish());
    draft.publish();
  }

  static io::StoreReader open(const std::string& path) {
    return {path, io::StoreReader::read_index(path), io::Verify::kFull};
  }
  template <class T>
  static std::vector<T> read(const io::StoreReader& reader, const io::StoredTensor& tensor, std::int64_t piece) {
    std::vector<T> values(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)) / sizeof(T));
    reader.read_piece(tensor, piece, std::as_writable_bytes(std::span(values)));
    return values;
  }

  std::unique_ptr<test::TemporaryFolder> folder;
  std::string path;
};

TEST_F(ConvertStore, WritesEveryMatrixAndKeepsTheRest) {
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kInt4}) {
    const std::string out = file(std::string(name(format)) + ".h5");
    convert_store({file("int8.h5"), out, format, false}, world());
    if (world().rank() != 0) continue;
    const io::StoreReader from = open(file("int8.h5")), to = open(out);
    EXPECT_TRUE(to.verify_all(1).empty());
    EXPECT_EQ(to.index().format(), format);
    EXPECT_EQ(to.index().config(), from.index().config());
    EXPECT_EQ(to.tokenizer_bytes(), from.tokenizer_bytes());
    for (const io::StoredTensor& tensor : to.index().tensors())
      if (tensor.spec.dtype == DType::kF32) {
        EXPECT_EQ(tensor.hashes, from.index().tensor(tensor.spec.name).hashes);
      }
    for (const TensorRow& row : kTensorRows) {
      if (!row.is_matrix()) continue;
      const std::string weights_name = io::layer_tensor(ModelLayer(1), row.name),
                        scales_name = io::layer_tensor(ModelLayer(1), row.scales);
      const auto& source = from.index().tensor(weights_name);
      const auto& source_scales = from.index().tensor(scales_name);
      const auto& made = to.index().tensor(weights_name);
      for (std::int64_t piece = 0; piece < source.spec.num_pieces(); ++piece) {
        const auto int8 = read<std::int8_t>(from, source, piece);
        const auto at = io::int8_scales_at(source.spec, source_scales.spec, piece);
        const auto all = read<float>(from, source_scales, at.piece);
        const auto columns = static_cast<std::size_t>(source.spec.shape.back());
        const Int8Piece expected{int8, std::span(all).subspan(static_cast<std::size_t>(at.first_elem), columns)};
        if (format == WeightFormat::kBf16) {
          const auto found = read<std::uint16_t>(to, made, piece);
          for (std::size_t i = 0; i < int8.size(); ++i)
            ASSERT_EQ(found[i], moesaic::to_bf16(static_cast<float>(int8[i]) * expected.scales[i % columns]).bits);
          continue;
        }
        const auto& made_scales = to.index().tensor(scales_name);
        std::vector<std::uint8_t> q(static_cast<std::size_t>(made.spec.piece_bytes(piece)));
        std::vector<Bf16> s(static_cast<std::size_t>(made_scales.spec.piece_bytes(piece)) / sizeof(Bf16));
        to_int4(expected, q, s);
        EXPECT_EQ(read<std::uint8_t>(to, made, piece), q);
        const auto found = read<Bf16>(to, made_scales, piece);
        EXPECT_EQ(std::memcmp(found.data(), s.data(), s.size() * sizeof(Bf16)), 0);
      }
    }
  }
}

TEST_F(ConvertStore, RankCountsGiveTheSameFile) {
  convert_store({file("int8.h5"), file("all.h5"), WeightFormat::kInt4, false}, world());
  const auto alone = world().split(world().rank());
  if (world().rank() != 0) return;
  convert_store({file("int8.h5"), file("one.h5"), WeightFormat::kInt4, false}, alone);
  EXPECT_TRUE(test::read_file(file("all.h5")) == test::read_file(file("one.h5")));
}

TEST_F(ConvertStore, RefusesOtherSources) {
  convert_store({file("int8.h5"), file("int4.h5"), WeightFormat::kInt4, false}, world());
  EXPECT_ERROR(convert_store({file("int4.h5"), file("b.h5"), WeightFormat::kBf16, false}, world()),
               "its weights are int4; weights can be made of int8 ones only");
  EXPECT_ERROR(convert_store({file("int8.h5"), file("b.h5"), WeightFormat::kInt8, false}, world()), "int8 already");
  EXPECT_ERROR(convert_store({file("int8.h5"), file("int4.h5"), WeightFormat::kInt4, false}, world()), "--force");
  EXPECT_ERROR(convert_store({file("absent.h5"), file("b.h5"), WeightFormat::kInt4, false}, world()), "absent.h5");
}

}  // namespace
}  // namespace moesaic::converters
