#include "xai/convert.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "../io/expect_error.hpp"
#include "../io/temporary_folder.hpp"
#include "comm/agree.hpp"
#include "io/mapped_file.hpp"
#include "io/store_reader.hpp"
#include "pickle_builder.hpp"
#include "support/test_data.hpp"
#include "xai/checkpoint.hpp"
#include "xai/parameters.hpp"

namespace moesaic::converters {
namespace {

namespace fs = std::filesystem;
using test::PickleBuilder;

const comm::Communicator& world() {
  static const auto communicator = comm::Communicator::world();
  return communicator;
}

/// One folder for all ranks; rank 0 makes and removes it.
class Convert : public testing::Test {
 protected:
  Convert() {
    if (world().rank() == 0) folder = std::make_unique<test::TemporaryFolder>();
    if (folder) path = folder->path().string();
    world().broadcast(path, 0);
  }
  ~Convert() override { world().barrier(); }

  std::string file(const std::string& name) const { return path + "/" + name; }
  /// A copy of a golden that rank 0 may spoil.
  std::string copy(const std::string& name, const std::function<void(const fs::path& folder)>& spoil = {}) {
    comm::on_root(world(), [&] {
      fs::remove_all(file("copy"));
      fs::copy(test::golden(name), file("copy"), fs::copy_options::recursive);
      if (spoil) spoil(file("copy"));
    });
    return file("copy");
  }
  /// Converts a spoilt copy; every rank must get the message, and nothing may be left.
  void expect_refused(const std::string& golden, const std::string& message,
                      const std::function<void(const fs::path& folder)>& spoil) {
    const std::string source = copy(golden, spoil);
    EXPECT_ERROR(convert_xai({source, file("refused.h5"), {}, false}, world()), message);
    world().barrier();
    for (const auto& entry : fs::directory_iterator(path)) EXPECT_EQ(entry.path().filename(), "copy");
    world().barrier();
  }

  std::unique_ptr<test::TemporaryFolder> folder;
  std::string path;
};

/// Element (m, r, c) of an array of one, two or three axes, as bytes.
std::span<const std::byte> element(const PickledArray& array, std::span<const std::byte> payload,
                                   std::size_t elem_bytes, std::int64_t m, std::int64_t r, std::int64_t c) {
  std::int64_t extents[3] = {1, 1, 1};
  std::copy(array.shape.begin(), array.shape.end(), extents + 3 - array.shape.size());
  const auto [M, R, C] = extents;
  const std::int64_t at = array.fortran_order ? m + M * (r + R * c) : (m * R + r) * C + c;
  return payload.subspan(static_cast<std::size_t>(at) * elem_bytes, elem_bytes);
}

std::vector<std::byte> whole(const io::StoreReader& reader, const io::StoredTensor& tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.spec.size_bytes()));
  for (std::int64_t piece = 0; piece < tensor.spec.num_pieces(); ++piece)
    reader.read_piece(tensor, piece,
                      std::span(bytes).subspan(static_cast<std::size_t>(tensor.spec.piece_offset_bytes(piece)),
                                               static_cast<std::size_t>(tensor.spec.piece_bytes(piece))));
  return bytes;
}

/// Every weight of the store against the pickles, by the formula of docs/store.md.
void expect_equal(const std::string& store, const fs::path& golden) {
  const io::StoreReader reader(store, io::StoreReader::read_index(store), io::Verify::kFull);
  EXPECT_TRUE(reader.verify_all(1).empty());
  const auto checkpoint = find_checkpoint(golden.string());
  for (const auto& p : xai_parameters(checkpoint.config, checkpoint.groups)) {
    const io::MappedFile map(checkpoint.folder + "/" + p.file);
    const auto tensor = read_pickle(map.bytes(), p.file);
    check_tensor(p, tensor, p.file);
    std::vector<std::byte> storage;
    const auto source = payload_bytes(tensor.weight, storage, p.file);
    const auto stored = whole(reader, reader.index().tensor(p.weight));
    const std::size_t elem_bytes = tensor.scales ? 1 : 4;
    const std::int64_t part_cols = p.cols / p.column_parts;
    bool equal = true;
    for (std::int64_t m = 0; m < p.matrices; ++m)
      for (std::int64_t r = 0; r < p.rows; ++r)
        for (std::int64_t c = 0; c < p.cols; ++c) {
          const std::int64_t part = c / part_cols;
          const std::int64_t at = ((m * p.column_parts + part) * p.rows + r) * part_cols + c % part_cols;
          equal &= 0 == std::memcmp(stored.data() + static_cast<std::size_t>(at) * elem_bytes,
                                    element(tensor.weight, source, elem_bytes, m, r, c).data(), elem_bytes);
        }
    EXPECT_TRUE(equal) << p.path;
    if (!tensor.scales) continue;
    const auto& scales = *tensor.scales;
    const auto scales_source = payload_bytes(scales, storage, p.file);
    const auto stored_scales = whole(reader, reader.index().tensor(p.scales));
    const std::int64_t rows = p.scales_shape[p.scales_shape.size() - 2];
    for (std::int64_t m = 0; m < p.matrices; ++m)
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < p.cols; ++c) {
          const bool half = scales.type == PickledType::kBfloat16;
          std::uint32_t expected = 0, found = 0;
          std::memcpy(&expected, element(scales, scales_source, half ? 2 : 4, m, r, c).data(), half ? 2 : 4);
          std::memcpy(&found, stored_scales.data() + ((m * rows + r) * p.cols + c) * 4, 4);
          ASSERT_EQ(found, half ? expected << 16 : expected) << p.path;
        }
  }
}

class ConvertGolden : public Convert, public testing::WithParamInterface<const char*> {};

TEST_P(ConvertGolden, KeepsEveryWeight) {
  const auto golden = test::golden(GetParam());
  if (golden.empty()) GTEST_SKIP() << "the golden " << GetParam() << " is in ../shared, which is not there";
  convert_xai({golden.string(), file("model.h5"), {}, false}, world());
  if (world().rank() == 0) expect_equal(file("model.h5"), golden);
}

INSTANTIATE_TEST_SUITE_P(Goldens, ConvertGolden, testing::Values("tiny", "gqa", "wide", "e16", "demo"),
                         [](const auto& param) { return std::string(param.param); });

TEST_F(Convert, RankCountsGiveTheSameFile) {
  const auto golden = test::golden("e16").string();
  convert_xai({golden, file("all.h5"), {}, false}, world());
  const auto alone = world().split(world().rank());
  if (world().rank() == 0) {
    convert_xai({golden, file("one.h5"), {}, false}, alone);
    EXPECT_TRUE(test::read_file(file("all.h5")) == test::read_file(file("one.h5")));
  }
}

TEST_F(Convert, StoresTheTokenizerBesideTheCheckpoint) {
  const auto golden = test::golden("demo");
  convert_xai({(golden / "ckpt-0").string(), file("model.h5"), {}, false}, world());
  const auto index = io::StoreReader::read_index(file("model.h5"));
  ASSERT_TRUE(index.tokenizer);
  EXPECT_EQ(index.tokenizer->num_pieces, 2048);
  const io::StoreReader reader(file("model.h5"), index, io::Verify::kFull);
  EXPECT_EQ(reader.tokenizer_bytes(), test::read_file((golden / "tokenizer.model").string()));
}

TEST_F(Convert, LayersComeInStringOrder) {
  std::vector<std::int32_t> order;
  for (const ModelLayer layer : string_order(12)) order.push_back(layer.value());
  EXPECT_EQ(order, (std::vector<std::int32_t>{0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(Convert, NothingIsReplacedUnasked) {
  const auto golden = test::golden("e16").string();
  convert_xai({golden, file("model.h5"), {}, false}, world());
  EXPECT_ERROR(convert_xai({golden, file("model.h5"), {}, false}, world()), "--force");
  EXPECT_NO_THROW(convert_xai({golden, file("model.h5"), {}, true}, world()));
}

TEST_F(Convert, MissingThings) {
  EXPECT_ERROR(convert_xai({file("absent"), file("m.h5"), {}, false}, world()), "no such folder");
  EXPECT_ERROR(convert_xai({path, file("m.h5"), {}, false}, world()), "no xAI checkpoint");
  expect_refused("e16", "tensor00007_000 (transformer/decoder_layer_0/multi_head_attention/query/w) is missing",
                 [](const fs::path& folder) { fs::remove(folder / "ckpt-0/tensor00007_000"); });
  expect_refused("e16", "there is no config.json", [](const fs::path& folder) { fs::remove(folder / "config.json"); });
  const std::string source = copy("e16");
  EXPECT_ERROR(convert_xai({source, file("absent/m.h5"), {}, false}, world()), "cannot be created");
  EXPECT_ERROR(convert_xai({source, file("m.h5"), file("absent.model"), false}, world()), "absent.model");
}

TEST_F(Convert, TensorsOfTheWrongKind) {
  const auto spoil = [](const char* name, const std::string& pickle) {
    return [=](const fs::path& folder) { test::write_file((folder / "ckpt-0" / name).string(), pickle); };
  };
  const std::string norm(96 * 4, '\0');
  expect_refused("e16", "tensor00001_000 (language_model/rms_norm/scale): its shape is (48, 2), expected (96)",
                 spoil("tensor00001_000", PickleBuilder().array("f4", {48, 2}, norm).stop()));
  expect_refused("e16", "its type is int8, expected float32",
                 spoil("tensor00001_000", PickleBuilder().array("i1", {96}, norm.substr(0, 96)).stop()));
  expect_refused("e16", "the parameter is an array of float32, expected a QuantizedWeight8bit",
                 spoil("tensor00002_000", PickleBuilder().array("f4", {96}, norm).stop()));
  expect_refused(
      "e16", "refused: the pickle names 'os.system'",
      spoil("tensor00013_000", PickleBuilder().global("os", "system").unicode("false").op(0x85).op('R').stop()));
  std::string nan = norm;
  nan.replace(40, 4, std::string("\x00\x00\xc0\x7f", 4));
  expect_refused("e16", "tensor00001_000 (language_model/rms_norm/scale): element 10 is nan",
                 spoil("tensor00001_000", PickleBuilder().array("f4", {96}, nan).stop()));
}

TEST_F(Convert, NanScaleAndTruncation) {
  const auto edit = [](const char* name, auto&& change) {
    return [=](const fs::path& folder) {
      const std::string file = (folder / "ckpt-0" / name).string();
      std::string content = test::read_file(file);
      change(content);
      test::write_file(file, content);
    };
  };
  // The scales' payload ends a few opcodes before the file does.
  expect_refused("tiny", "tensor00005_000 (transformer/decoder_layer_0/multi_head_attention/key/w): scales: element",
                 edit("tensor00005_000", [](std::string& s) {
                   s[s.size() - 20] = '\x7f', s[s.size() - 21] = '\xc0', s[s.size() - 22] = '\x7f',
                                s[s.size() - 23] = '\xff';
                 }));
  expect_refused("e16", "truncated", edit("tensor00004_000", [](std::string& s) { s.resize(s.size() / 2); }));
  expect_refused("e16", "is empty", edit("tensor00004_000", [](std::string& s) { s.clear(); }));
}

TEST_F(Convert, TokenizerOfAnotherModel) {
  const std::string source = copy("e16", [](const fs::path& folder) {
    fs::copy(test::golden("demo") / "tokenizer.model", folder / "tokenizer.model");
  });
  EXPECT_ERROR(convert_xai({source, file("m.h5"), {}, false}, world()), "has 2048 pieces, the model's vocabulary 777");
  EXPECT_FALSE(fs::exists(file("m.h5")));
}

}  // namespace
}  // namespace moesaic::converters
