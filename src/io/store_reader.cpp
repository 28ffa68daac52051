#include "io/store_reader.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>

#include "base/error.hpp"
#include "io/piece_hash.hpp"
#include "io/store_header.hpp"
#include "io/store_structure.hpp"

namespace moesaic::io {
namespace {

constexpr const char* kRemedy = "copy or convert the store again";

/// An index of more bytes is not believed; Grok-1's has about 2 MB.
constexpr std::int64_t kLargestIndexBytes = std::int64_t{1} << 30;

std::string structure_message(const std::string& path, const Hash128& expected, const Hash128& found) {
  return fmt::format("{}: the HDF5 structure around the tensors is altered: hash {}, expected {}; {}", path,
                     found.hex(), expected.hex(), kRemedy);
}

/// Hashes as much as `verify` asks for.
class PieceHasher {
 public:
  explicit PieceHasher(Verify verify) : verify_(verify) {}
  void update(std::span<const std::byte> chunk) {
    if (verify_ == Verify::kFull) full_.update(chunk);
    if (verify_ == Verify::kFast) sampled_.update(chunk);
  }
  Hash128 digest() const { return verify_ == Verify::kFull ? full_.digest() : sampled_.digest(); }

 private:
  Verify verify_;
  Hasher full_;
  SampledHasher sampled_;
};

}  // namespace

std::optional<Verify> verify_from(std::string_view text) {
  for (const auto verify : {Verify::kFull, Verify::kFast, Verify::kOff})
    if (text == name(verify)) return verify;
  return std::nullopt;
}

std::string_view name(Verify verify) {
  switch (verify) {
    case Verify::kFull:
      return "full";
    case Verify::kFast:
      return "fast";
    case Verify::kOff:
      return "off";
  }
  return "?";
}

StoreIndex StoreReader::read_index(const std::string& path, Verify verify) {
  const File file = File::open_for_reading(path);
  const std::int64_t size_bytes = file.size_bytes();
  std::vector<std::byte> begin(std::min(kHeaderBytes, static_cast<std::size_t>(size_bytes)));
  file.read_at(0, begin);
  const StoreHeader header = decode_header(begin, path);
  if (size_bytes != header.file_size_bytes)
    fail("{}: {}: the file has {} bytes, expected {}; {}", path,
         size_bytes < header.file_size_bytes ? "truncated" : "altered", size_bytes, header.file_size_bytes, kRemedy);
  if (header.index.size_bytes > kLargestIndexBytes)
    fail("{}: the index has {} bytes, expected at most {}", path, header.index.size_bytes, kLargestIndexBytes);

  std::string text(static_cast<std::size_t>(header.index.size_bytes), '\0');
  file.read_at(header.index.offset_bytes, std::as_writable_bytes(std::span(text)));
  if (const Hash128 found = hash_bytes(std::as_bytes(std::span(text))); found != header.index_hash)
    fail("{}: the index is damaged: hash {}, expected {}; {}", path, found.hex(), header.index_hash.hex(), kRemedy);

  StoreIndex index = StoreIndex::from_text(text, path);
  index.file_size_bytes = header.file_size_bytes;
  index.index_extent = header.index;
  index.structure_hash = header.structure_hash;
  (void)index.gaps(path);  // checks that all extents lie in the file, apart from each other
  if (verify != Verify::kOff)
    if (const Hash128 found = structure_hash(file, index); found != index.structure_hash)
      throw Error(structure_message(path, index.structure_hash, found));
  return index;
}

StoreReader::StoreReader(const std::string& path, StoreIndex index, Verify verify)
    : file_(File::open_for_reading(path)), index_(std::move(index)), verify_(verify) {
  if (const std::int64_t size_bytes = file_.size_bytes(); size_bytes != index_.file_size_bytes)
    fail("{}: the file has {} bytes here, {} where its index was read: not the same file, or it is being written", path,
         size_bytes, index_.file_size_bytes);
}

void StoreReader::check_hash(const StoredTensor& tensor, std::int64_t piece, Verify verify,
                             const Hash128& found) const {
  const auto& hashes = verify == Verify::kFull ? tensor.hashes : tensor.sampled_hashes;
  const Hash128& expected = hashes[static_cast<std::size_t>(piece)];
  if (found != expected)
    fail("{}: {}: {} is altered: {} {}, expected {}; {}", path(), tensor.spec.name, tensor.spec.describe_piece(piece),
         verify == Verify::kFull ? "hash" : "sampled hash", found.hex(), expected.hex(), kRemedy);
}

void StoreReader::read_piece(const StoredTensor& tensor, std::int64_t piece, std::span<std::byte> into) const {
  MOESAIC_CHECK(static_cast<std::int64_t>(into.size()) == tensor.spec.piece_bytes(piece),
                "{} piece {}: {} bytes given, {}", tensor.spec.name, piece, into.size(),
                tensor.spec.piece_bytes(piece));
  file_.read_at(tensor.offset_bytes + tensor.spec.piece_offset_bytes(piece), into);
  bytes_read_.fetch_add(static_cast<std::int64_t>(into.size()), std::memory_order_relaxed);
  if (verify_ == Verify::kFull) check_hash(tensor, piece, verify_, hash_bytes(into));
  if (verify_ == Verify::kFast) check_hash(tensor, piece, verify_, sampled_hash(into));
}

void StoreReader::stream_piece(const StoredTensor& tensor, std::int64_t piece, std::int64_t unit_bytes,
                               std::span<std::byte> scratch, const TakeChunk& take) const {
  const std::int64_t size_bytes = tensor.spec.piece_bytes(piece);
  const std::int64_t chunk_bytes = static_cast<std::int64_t>(scratch.size()) / unit_bytes * unit_bytes;
  MOESAIC_CHECK(chunk_bytes > 0 && size_bytes % unit_bytes == 0, "{} piece {} of {} bytes, unit {}, scratch {}",
                tensor.spec.name, piece, size_bytes, unit_bytes, scratch.size());
  const std::int64_t begin = tensor.offset_bytes + tensor.spec.piece_offset_bytes(piece);
  PieceHasher hasher(verify_);
  for (std::int64_t at = 0; at < size_bytes; at += chunk_bytes) {
    const auto chunk = scratch.first(static_cast<std::size_t>(std::min(chunk_bytes, size_bytes - at)));
    file_.read_at(begin + at, chunk);
    bytes_read_.fetch_add(static_cast<std::int64_t>(chunk.size()), std::memory_order_relaxed);
    hasher.update(chunk);
    take(at, chunk);
  }
  if (verify_ != Verify::kOff) check_hash(tensor, piece, verify_, hasher.digest());
}

std::optional<std::string> StoreReader::tokenizer_bytes() const {
  if (!index_.tokenizer) return std::nullopt;
  const auto& [extent, expected, num_pieces] = *index_.tokenizer;
  std::string bytes(static_cast<std::size_t>(extent.size_bytes), '\0');
  file_.read_at(extent.offset_bytes, std::as_writable_bytes(std::span(bytes)));
  if (const Hash128 found = hash_bytes(std::as_bytes(std::span(bytes))); found != expected)
    fail("{}: the tokenizer is altered: hash {}, expected {}; {}", path(), found.hex(), expected.hex(), kRemedy);
  return bytes;
}

Tokenizer StoreReader::tokenizer() const {
  const auto bytes = tokenizer_bytes();
  if (!bytes) fail("{}: has no tokenizer; convert it with --tokenizer FILE, or give token ids", path());
  return Tokenizer::from_bytes(*bytes, path() + ": tokenizer");
}

std::vector<std::string> StoreReader::verify_all(int num_threads, const Progress& progress) const {
  struct Piece {
    const StoredTensor* tensor;
    std::int64_t piece;
    std::string wrong = {};
  };
  std::vector<Piece> pieces;
  for (const auto& tensor : index_.tensors())
    for (std::int64_t piece = 0; piece < tensor.spec.num_pieces(); ++piece) pieces.push_back({&tensor, piece});

  const StoreReader full(path(), index_, Verify::kFull);
  std::atomic<std::size_t> next{0};
  std::mutex mutex;  // of progress and failure
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      std::vector<std::byte> scratch(std::size_t{4} << 20);
      for (std::size_t i; (i = next.fetch_add(1)) < pieces.size();) {
        Piece& p = pieces[i];
        try {
          full.stream_piece(*p.tensor, p.piece, 1, scratch, [](std::int64_t, std::span<const std::byte>) {});
        } catch (const Error& error) {
          p.wrong = error.what();
        }
        const std::scoped_lock lock(mutex);
        if (progress) progress(full.bytes_read(), index_.weight_bytes());
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      failure = std::current_exception();
      next = pieces.size();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int t = 1; t < num_threads; ++t) threads.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);

  std::vector<std::string> wrong;
  if (const Hash128 found = structure_hash(file_, index_); found != index_.structure_hash)
    wrong.push_back(structure_message(path(), index_.structure_hash, found));
  try {
    (void)tokenizer_bytes();
  } catch (const Error& error) {
    wrong.emplace_back(error.what());
  }
  for (auto& p : pieces)
    if (!p.wrong.empty()) wrong.push_back(std::move(p.wrong));
  return wrong;
}

}  // namespace moesaic::io
