#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "expect_error.hpp"
#include "io/hdf5.hpp"
#include "io/store_header.hpp"
#include "io/store_reader.hpp"
#include "small_store.hpp"
#include "temporary_folder.hpp"

namespace moesaic::io {
namespace {

using test::read_file;
using test::write_file;

class Store : public testing::Test {
 protected:
  Store() { test::write_small_store(path); }

  std::string with(std::string content) {
    write_file(changed, content);
    return changed;
  }

  test::TemporaryFolder folder;
  std::string path = folder.file("small.h5");
  std::string changed = folder.file("changed.h5");
};

/// Reads header, index and every piece; the content must be what was written.
void expect_content(const std::string& path, Verify verify) {
  const StoreReader reader(path, StoreReader::read_index(path, verify), verify);
  for (std::size_t t = 0; t < reader.index().tensors().size(); ++t) {
    const auto& tensor = reader.index().tensors()[t];
    const auto expected = test::small_tensor(t, tensor.spec.size_bytes());
    for (std::int64_t piece = 0; piece < tensor.spec.num_pieces(); ++piece) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)));
      reader.read_piece(tensor, piece, bytes);
      ASSERT_EQ(0, std::memcmp(bytes.data(), expected.data() + tensor.spec.piece_offset_bytes(piece), bytes.size()))
          << tensor.spec.name << " piece " << piece;
    }
  }
}

TEST_F(Store, HoldsWhatWasWritten) {
  for (const auto verify : {Verify::kFull, Verify::kFast, Verify::kOff}) expect_content(path, verify);
  const auto index = StoreReader::read_index(path);
  EXPECT_EQ(index.config(), test::small_config());
  EXPECT_EQ(index.groups(), (ScaleGroups{8, 1}));
  const StoreReader reader(path, index, Verify::kOff);
  EXPECT_EQ(reader.tokenizer_bytes(), "not a real tokenizer");
  EXPECT_TRUE(reader.verify_all(2).empty());
}

TEST_F(Store, HoldsOtherWeights) {
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kInt4}) {
    std::filesystem::remove(changed);
    test::write_small_store(changed, "not a real tokenizer", format);
    for (const auto verify : {Verify::kFull, Verify::kFast, Verify::kOff}) expect_content(changed, verify);
    const auto index = StoreReader::read_index(changed);
    EXPECT_EQ(index.format(), format);
    EXPECT_EQ(StoreIndex::parse(index.serialize(), changed).format(), format);
    const Hdf5File file = Hdf5File::open(changed);
    for (const auto& tensor : index.tensors()) EXPECT_EQ(file.shape_of(tensor.spec.name), tensor.spec.shape);
  }
  // A version that knew int8 alone must not take the others for it.
  const auto version = [](const std::string& file) {
    const std::string content = read_file(file);
    return decode_header(std::as_bytes(std::span(content).first(kHeaderBytes)), file).version;
  };
  EXPECT_EQ(version(changed), 2);
  EXPECT_EQ(version(path), 1);
}

TEST_F(Store, IsReadByHdf5) {
  const auto index = StoreReader::read_index(path);
  const Hdf5File file = Hdf5File::open(path);
  for (std::size_t t = 0; t < index.tensors().size(); ++t) {
    const auto& spec = index.tensors()[t].spec;
    EXPECT_EQ(file.shape_of(spec.name), spec.shape) << spec.name;
    if (spec.dtype != DType::kInt8) continue;
    const auto array = file.read<std::int8_t>(spec.name);
    const auto expected = test::small_tensor(t, spec.size_bytes());
    EXPECT_EQ(0, std::memcmp(array.values.data(), expected.data(), expected.size())) << spec.name;
  }
}

TEST_F(Store, IsTheSameFileWhenWrittenAgain) {
  test::write_small_store(changed);
  EXPECT_EQ(read_file(path), read_file(changed));
}

TEST_F(Store, SurvivesTheBroadcast) {
  const auto index = StoreReader::read_index(path);
  const auto copy = StoreIndex::parse(index.serialize(), path);
  EXPECT_EQ(copy.serialize(), index.serialize());
  EXPECT_EQ(copy.tensor(layer_tensor(ModelLayer(1), tensor_row(TensorRole::kMoeUp).name)).hashes,
            index.tensor(layer_tensor(ModelLayer(1), tensor_row(TensorRole::kMoeUp).name)).hashes);
}

TEST_F(Store, StreamsAPieceInWholeUnits) {
  const StoreReader reader(path, StoreReader::read_index(path), Verify::kFull);
  const auto& tensor = reader.index().tensor(tensor_row(TensorRole::kEmbed).name);
  const std::int64_t row_bytes = 8 * 4, size_bytes = tensor.spec.piece_bytes(0);
  std::vector<std::byte> scratch(5 * 32 + 7), bytes(static_cast<std::size_t>(size_bytes));
  std::int64_t expected_offset = 0;
  reader.stream_piece(tensor, 0, row_bytes, scratch, [&](std::int64_t offset, std::span<const std::byte> chunk) {
    EXPECT_EQ(offset, expected_offset);
    EXPECT_EQ(chunk.size() % static_cast<std::size_t>(row_bytes), 0u);
    std::ranges::copy(chunk, bytes.begin() + offset);
    expected_offset += static_cast<std::int64_t>(chunk.size());
  });
  EXPECT_EQ(expected_offset, size_bytes);
  EXPECT_EQ(reader.bytes_read(), size_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], test::small_byte(0, i));
}

TEST_F(Store, NamesAWrongPiece) {
  const auto index = StoreReader::read_index(path);
  const auto& tensor = index.tensor(layer_tensor(ModelLayer(1), tensor_row(TensorRole::kMoeGate).name));
  const std::int64_t piece = expert_piece(ExpertId(1), 5);
  std::string content = read_file(path);
  content[static_cast<std::size_t>(tensor.offset_bytes + tensor.spec.piece_offset_bytes(piece))] ^= 4;
  with(content);
  const StoreReader reader(changed, StoreReader::read_index(changed), Verify::kFull);
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)));
  EXPECT_ERROR(reader.read_piece(tensor, piece, bytes), "changed.h5: layers/1/moe/gate: expert 1, eighth 5 is altered");
  EXPECT_ERROR(reader.stream_piece(tensor, piece, 1, bytes, [](auto, auto) {}), "expert 1, eighth 5 is altered");
  const auto wrong = reader.verify_all(2);
  ASSERT_EQ(wrong.size(), 1u);
  EXPECT_NE(wrong[0].find("expert 1, eighth 5"), std::string::npos);
}

TEST_F(Store, EveryFlippedByteIsFound) {
  const std::string content = read_file(path);
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < 200; ++i) places.push_back(i);  // magic, version, header fields
  std::mt19937 random(1);
  for (int i = 0; i < 1500; ++i) places.push_back(random() % content.size());
  for (const auto place : places) {
    std::string flipped = content;
    flipped[place] = static_cast<char>(flipped[place] ^ (1 << (random() % 8)));
    bool found = false;
    try {
      const auto index = StoreReader::read_index(with(flipped), Verify::kOff);
      found = !StoreReader(changed, index, Verify::kFull).verify_all(1).empty();
    } catch (const Error&) {
      found = true;
    }
    ASSERT_TRUE(found) << "byte " << place;
  }
}

TEST_F(Store, TellsWhatAFileIs) {
  std::string content = read_file(path);
  EXPECT_ERROR(StoreReader::read_index(folder.file("absent.h5")), "cannot be opened: No such file");
  EXPECT_ERROR(StoreReader::read_index(folder.path().string()), "not a regular file");
  EXPECT_ERROR(StoreReader::read_index(with("")), "not a Moesaic store (it is empty)");
  EXPECT_ERROR(StoreReader::read_index(with("\x80\x04pickle")), "looks like a pickle");
  EXPECT_ERROR(StoreReader::read_index(with(content.substr(0, 1000))), "truncated");
  EXPECT_ERROR(StoreReader::read_index(with(content.substr(0, content.size() - 1))), "truncated: the file has");
  EXPECT_ERROR(StoreReader::read_index(with(content + "x")), "altered: the file has");
  { Hdf5File::create(changed).close(); }
  EXPECT_ERROR(StoreReader::read_index(changed), "an HDF5 file of another kind");

  // A newer version, properly signed.
  const std::uint32_t newer = kStoreVersion + 1;
  std::memcpy(content.data() + 12, &newer, sizeof newer);
  const Hash128 hash = hash_bytes(std::as_bytes(std::span(content).first(kHeaderBytes - sizeof(Hash128))));
  std::memcpy(content.data() + kHeaderBytes - sizeof hash, hash.bytes.data(), sizeof hash);
  EXPECT_ERROR(StoreReader::read_index(with(content)), "use a newer Moesaic");
}

TEST_F(Store, MutationsGiveErrorsOrTheSameContent) {
  const std::string content = read_file(path);
  std::mt19937 random(2);
  for (int round = 0; round < 1500; ++round) {
    std::string mutated = content;
    if (round % 3 == 0) mutated.resize(random() % mutated.size());
    for (auto n = random() % 4; n > 0 && !mutated.empty(); --n)
      mutated[random() % std::min<std::size_t>(mutated.size(), round % 2 ? mutated.size() : 4200)] =
          static_cast<char>(random());
    try {
      expect_content(with(mutated), Verify::kFull);
    } catch (const Error&) {
    }
  }
}

/// The store with another index text, its hash and the header made to fit: what only a hostile writer does.
std::string signed_with(std::string content, std::string index_text) {
  StoreHeader header = decode_header(std::as_bytes(std::span(content).first(kHeaderBytes)), "original");
  index_text.resize(static_cast<std::size_t>(header.index.size_bytes), ' ');
  content.replace(static_cast<std::size_t>(header.index.offset_bytes), index_text.size(), index_text);
  header.index_hash = hash_bytes(std::as_bytes(std::span(index_text)));
  const auto bytes = encode(header);
  std::memcpy(content.data(), bytes.data(), bytes.size());
  return content;
}

TEST_F(Store, HostileIndexGivesErrorsOnly) {
  const std::string content = read_file(path);
  const StoreHeader header = decode_header(std::as_bytes(std::span(content).first(kHeaderBytes)), path);
  const std::string text = content.substr(static_cast<std::size_t>(header.index.offset_bytes),
                                          static_cast<std::size_t>(header.index.size_bytes));
  std::mt19937 random(3);
  const std::string_view replacements = "0123456789-\"{}[],:e. ";
  // Outside of the hashes, which make up most of the text and mean nothing to the parser.
  std::vector<std::size_t> places;
  std::size_t run = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    run = std::isxdigit(static_cast<unsigned char>(text[i])) ? run + 1 : 0;
    if (run < 24 && text[i] != ' ') places.push_back(i);
  }
  for (int round = 0; round < 1500; ++round) {
    std::string mutated = text;
    for (auto n = 1 + random() % 3; n > 0; --n)
      mutated[places[random() % places.size()]] = replacements[random() % replacements.size()];
    with(signed_with(content, mutated));
    try {
      const StoreReader reader(changed, StoreReader::read_index(changed), Verify::kFull);
      (void)reader.verify_all(1);
    } catch (const Error&) {
    }
  }
  EXPECT_ERROR(StoreReader::read_index(with(signed_with(content, std::string(1000, '[')))), "nested");
  EXPECT_ERROR(StoreReader::read_index(with(signed_with(content, "{\"format\": 7}"))), "'format'");
}

TEST_F(Store, HostileExtentsAreRefused) {
  const std::string content = read_file(path);
  const auto try_index = [&](auto&& change) {
    auto index = StoreReader::read_index(path);
    change(index);
    return test::error_of([&] { (void)StoreReader::read_index(with(signed_with(content, index.to_text()))); });
  };
  EXPECT_NE(try_index([](auto& i) { i.tensors()[3].offset_bytes = 1LL << 40; }).find("leaves the file"),
            std::string::npos);
  EXPECT_NE(try_index([](auto& i) { i.tensors()[3].offset_bytes = i.tensors()[4].offset_bytes; }).find("overlaps"),
            std::string::npos);
  EXPECT_NE(try_index([](auto& i) { i.tensors()[3].offset_bytes = 16; }).find("overlaps the header"),
            std::string::npos);
  EXPECT_NE(try_index([](auto& i) { i.tokenizer->extent.size_bytes = 1LL << 62; }).find("leaves the file"),
            std::string::npos);
}

TEST(StoreDraft, LeavesNothingWhenItFails) {
  const test::TemporaryFolder folder;
  const NewStore store{test::small_config()};
  { const StoreDraft draft(folder.file("a.h5"), store, false); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_ERROR(StoreDraft(folder.file("absent/a.h5"), store, false), "cannot be created");
  write_file(folder.file("a.h5"), "mine");
  EXPECT_ERROR(StoreDraft(folder.file("a.h5"), store, false), "--force");
  EXPECT_EQ(read_file(folder.file("a.h5")), "mine");
}

/// A full disk, as `ulimit -f` imitates it.
TEST(StoreDraft, ReportsAFullDisk) {
  const test::TemporaryFolder folder;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{20'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = test::error_of([&] { test::write_small_store(folder.file("a.h5")); });
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("a.h5"), std::string::npos) << message;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace moesaic::io
