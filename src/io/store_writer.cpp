#include "io/store_writer.hpp"

#include <sys/statvfs.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>

#include "base/error.hpp"
#include "config/config_file.hpp"
#include "io/hdf5.hpp"
#include "io/piece_hash.hpp"
#include "io/store_header.hpp"
#include "io/store_structure.hpp"

namespace moesaic::io {
namespace {

namespace fs = std::filesystem;

/// Datasets of at least this size begin at multiples of it, smaller ones are packed: the usual Lustre stripe for a
/// large model, a page for a small one, which so stays small. It is the user block's size too: HDF5 wants that no
/// smaller.
std::int64_t alignment_bytes(std::int64_t weight_bytes) {
  constexpr std::int64_t kLargeModelBytes = 256 << 20;
  return weight_bytes < kLargeModelBytes ? static_cast<std::int64_t>(kHeaderBytes) : 1 << 20;
}

constexpr const char* kIndexName = "index";
constexpr const char* kTokenizerName = "tokenizer";

/// The index's size before offsets and hashes are known: each takes the most digits it may have.
std::int64_t largest_text(StoreIndex index) {
  for (auto& tensor : index.tensors()) tensor.offset_bytes = std::int64_t{1} << 62;
  if (index.tokenizer) index.tokenizer->extent.offset_bytes = std::int64_t{1} << 62;
  return static_cast<std::int64_t>(index.to_text().size());
}

Hdf5Dataset create(Hdf5File& file, const TensorSpec& spec) {
  switch (spec.dtype) {
    case DType::kF32:
      return file.create_dataset<float>(spec.name, spec.shape);
    case DType::kInt8:
      return file.create_dataset<std::int8_t>(spec.name, spec.shape);
    case DType::kBf16:  // HDF5 has no such type: their bits
      return file.create_dataset<std::uint16_t>(spec.name, spec.shape);
    case DType::kInt4x2:
      return file.create_dataset<std::uint8_t>(spec.name, spec.shape);
    case DType::kSignMagnitude8:
    case DType::kInt16:
      break;
  }
  throw std::logic_error("a type that no store has");
}

void write_attributes(Hdf5File& file, const StoreIndex& index) {
  file.write_attribute("format", std::string("moesaic-store"));
  file.write_attribute("format_version", std::int64_t{store_version(index.format())});
  const auto config = to_json(index.config());
  for (const auto& [key, value] : config.items()) {
    if (value.is_number_integer())
      file.write_attribute(key, value.get<std::int64_t>());
    else if (value.is_number())
      file.write_attribute(key, value.get<double>());
  }
}

void require_space(const std::string& path, std::int64_t needed_bytes) {
  struct statvfs status {};
  const std::string folder = fs::absolute(path).parent_path();
  // Some file systems do not tell; then the writes will.
  if (::statvfs(folder.c_str(), &status) != 0 || status.f_blocks == 0) return;
  const double free_bytes = static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize);
  if (free_bytes < static_cast<double>(needed_bytes))
    fail("{}: the store needs {:.3f} GB, {} has {:.3f} GB free; free some or write elsewhere", path,
         static_cast<double>(needed_bytes) * 1e-9, folder, free_bytes * 1e-9);
}

}  // namespace

StoreDraft::StoreDraft(const std::string& path, const NewStore& store, bool replace)
    : path_(path), replace_(replace), index_(store.config, store.format, store.groups, store.provenance) {
  if (fs::is_directory(path)) fail("{}: is a folder, the name of a file is expected", path);
  if (fs::exists(path) && !fs::is_regular_file(path)) fail("{}: is not a regular file; give another name", path);
  if (!replace && fs::exists(path)) fail("{}: exists; give --force to replace it, or another name", path);
  // Beyond `ulimit -f` a write shall fail with EFBIG, not kill the process.
  std::signal(SIGXFSZ, SIG_IGN);
  place_.emplace(path);  // before the space is looked at: it tells of partial stores, which may be what fills the disk
  require_space(path, index_.weight_bytes());
  lay_out(store);
}

void StoreDraft::lay_out(const NewStore& store) {
  for (auto& tensor : index_.tensors()) {
    const auto num_pieces = static_cast<std::size_t>(tensor.spec.num_pieces());
    tensor.hashes.resize(num_pieces);
    tensor.sampled_hashes.resize(num_pieces);
    num_unrecorded_ += tensor.spec.num_pieces();
  }
  const auto model = std::as_bytes(std::span(store.tokenizer_model));
  if (!model.empty())
    index_.tokenizer = {{0, static_cast<std::int64_t>(model.size())}, hash_bytes(model), store.tokenizer_pieces};
  index_.index_extent.size_bytes = largest_text(index_);

  // HDF5 is closed before the first tensor is written: it only ever lays out space.
  const std::int64_t alignment = alignment_bytes(index_.weight_bytes());
  auto file = Hdf5File::create(temporary_path(), {alignment, alignment});
  write_attributes(file, index_);
  index_.index_extent.offset_bytes =
      file.create_dataset<std::uint8_t>(kIndexName, {index_.index_extent.size_bytes}).offset_bytes();
  if (index_.tokenizer)
    index_.tokenizer->extent.offset_bytes =
        file.create_dataset<std::uint8_t>(kTokenizerName, {index_.tokenizer->extent.size_bytes}).offset_bytes();
  for (auto& tensor : index_.tensors()) tensor.offset_bytes = create(file, tensor.spec).offset_bytes();
  file.close();

  const File& written = place_->file();
  index_.file_size_bytes = written.size_bytes();
  if (index_.tokenizer) written.write_at(index_.tokenizer->extent.offset_bytes, model);
  index_.structure_hash = structure_hash(written, index_);
}

void StoreDraft::record(std::span<const WrittenPiece> pieces) {
  for (const auto& written : pieces) {
    auto& tensor = index_.tensors().at(written.tensor_idx);
    auto& hash = tensor.hashes.at(static_cast<std::size_t>(written.piece));
    MOESAIC_CHECK(hash == Hash128{}, "{}: {} was written twice", tensor.spec.name,
                  tensor.spec.describe_piece(written.piece));
    hash = written.hash;
    tensor.sampled_hashes[static_cast<std::size_t>(written.piece)] = written.sampled_hash;
    --num_unrecorded_;
  }
}

void StoreDraft::publish() {
  MOESAIC_CHECK(num_unrecorded_ == 0, "{} pieces were not written", num_unrecorded_);
  std::string text = index_.to_text();
  MOESAIC_CHECK(static_cast<std::int64_t>(text.size()) <= index_.index_extent.size_bytes, "index of {} bytes, {} kept",
                text.size(), index_.index_extent.size_bytes);
  text.resize(static_cast<std::size_t>(index_.index_extent.size_bytes), ' ');
  const auto index_bytes = std::as_bytes(std::span(text));
  const auto header = encode({store_version(index_.format()), index_.file_size_bytes, index_.index_extent,
                              hash_bytes(index_bytes), index_.structure_hash});
  place_->file().write_at(index_.index_extent.offset_bytes, index_bytes);
  place_->file().write_at(0, header);
  if (!replace_ && fs::exists(path_)) fail("{}: has come into being meanwhile; give --force to replace it", path_);
  place_->publish();
}

PieceWriter::PieceWriter(const std::string& temporary_path, const StoreIndex& index)
    : file_(File::open_for_writing(temporary_path)), index_(index) {
  std::signal(SIGXFSZ, SIG_IGN);
}

void PieceWriter::write(std::size_t tensor_idx, std::int64_t first_piece, std::span<const std::byte> bytes) {
  const auto& [spec, offset_bytes, hashes, sampled_hashes] = index_.tensors().at(tensor_idx);
  std::vector<WrittenPiece> written;
  std::int64_t piece = first_piece;
  for (auto rest = bytes; !rest.empty(); ++piece) {
    MOESAIC_CHECK(piece < spec.num_pieces() && static_cast<std::int64_t>(rest.size()) >= spec.piece_bytes(piece),
                  "{}: {} bytes from piece {} are not whole pieces", spec.name, bytes.size(), first_piece);
    const auto part = rest.first(static_cast<std::size_t>(spec.piece_bytes(piece)));
    written.push_back({tensor_idx, piece, hash_bytes(part), sampled_hash(part)});
    rest = rest.subspan(part.size());
  }
  file_.write_at(offset_bytes + spec.piece_offset_bytes(first_piece), bytes);
  const std::scoped_lock lock(mutex_);
  written_.insert(written_.end(), written.begin(), written.end());
  bytes_written_ += static_cast<std::int64_t>(bytes.size());
}

std::int64_t PieceWriter::bytes_written() const {
  const std::scoped_lock lock(mutex_);
  return bytes_written_;
}

std::vector<WrittenPiece> PieceWriter::finish() {
  file_.sync();
  return std::move(written_);
}

}  // namespace moesaic::io
