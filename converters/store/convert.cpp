#include "store/convert.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "comm/agree.hpp"
#include "host/stop_signals.hpp"
#include "io/store_reader.hpp"
#include "store/quantise.hpp"
#include "store/write_together.hpp"

namespace moesaic::converters {
namespace {

io::NewStore describe(const io::StoreReader& reader, WeightFormat format) {
  const io::StoreIndex& index = reader.index();
  if (index.format() != WeightFormat::kInt8)
    fail("{}: its weights are {}; weights can be made of int8 ones only: give the store that it was made from",
         reader.path(), name(index.format()));
  if (format == WeightFormat::kInt8) fail("{}: its weights are int8 already; copy the file", reader.path());
  io::NewStore store{index.config(), index.groups(), format};
  nlohmann::json provenance = parse_json(index.provenance(), reader.path());
  provenance["reformatted"] = fmt::format("from int8 to {} by moesaic {}", name(format), MOESAIC_VERSION);
  store.provenance = json_text(provenance);
  if (index.tokenizer) {
    store.tokenizer_model = reader.tokenizer_bytes().value();
    store.tokenizer_pieces = index.tokenizer->num_pieces;
  }
  return store;
}

/// Writes one rank's share of the pieces: those of a matrix with their scales, those of other tensors as they are.
class ShareWriter {
 public:
  ShareWriter(const io::StoreReader& reader, io::PieceWriter& writer) : reader_(reader), writer_(writer) {}

  void write(int rank, int num_ranks, const ConversionReport& report) {
    const io::StoreIndex& index = writer_.index();
    host::Progress progress = report.progress(index.weight_bytes() / num_ranks);
    std::int64_t turn = 0;
    for (std::size_t t = 0; t < index.tensors().size(); ++t) {
      const io::TensorSpec& spec = index.tensors()[t].spec;
      if (spec.is_scales) continue;  // written with their matrices
      for (std::int64_t piece = 0; piece < spec.num_pieces(); ++piece) {
        if (turn++ % num_ranks != rank) continue;
        host::StopSignals::check();
        if (tensor_row(spec.role).is_matrix())
          write_matrix(t, piece);
        else
          writer_.write(t, piece, read(reader_.index().tensor(spec.name), piece));
        progress.report(writer_.bytes_written());
      }
    }
  }

 private:
  std::span<const std::byte> read(const io::StoredTensor& tensor, std::int64_t piece) {
    weights_.resize(static_cast<std::size_t>(tensor.spec.piece_bytes(piece)));
    reader_.read_piece(tensor, piece, weights_);
    return weights_;
  }

  /// Reads the int8 scales of a piece of a matrix: one a column.
  std::span<const float> read_scales(const io::TensorSpec& weights, const io::StoredTensor& scales,
                                     std::int64_t piece) {
    const auto [scales_piece, first] = io::int8_scales_at(weights, scales.spec, piece);
    scales_.resize(static_cast<std::size_t>(scales.spec.piece_bytes(scales_piece)) / sizeof(float));
    reader_.read_piece(scales, scales_piece, std::as_writable_bytes(std::span(scales_)));
    return std::span(scales_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(weights.shape.back()));
  }

  void write_matrix(std::size_t tensor_idx, std::int64_t piece) {
    const io::StoreIndex &from = reader_.index(), &to = writer_.index();
    const io::TensorSpec& spec = to.tensors()[tensor_idx].spec;
    const io::StoredTensor& source = from.tensor(spec.name);
    const std::string scales_name = io::scales_name(spec);
    const auto bytes = read(source, piece);
    const Int8Piece int8{{reinterpret_cast<const std::int8_t*>(bytes.data()), bytes.size()},
                         read_scales(source.spec, from.tensor(scales_name), piece)};
    converted_.resize(static_cast<std::size_t>(spec.piece_bytes(piece)));
    if (to.format() == WeightFormat::kBf16) {
      to_bf16(int8, {reinterpret_cast<Bf16*>(converted_.data()), converted_.size() / sizeof(Bf16)});
    } else {
      const std::size_t scales_idx = to.tensor_idx(scales_name);
      int4_scales_.resize(static_cast<std::size_t>(to.tensors()[scales_idx].spec.piece_bytes(piece)) / sizeof(Bf16));
      to_int4(int8, {reinterpret_cast<std::uint8_t*>(converted_.data()), converted_.size()}, int4_scales_);
      writer_.write(scales_idx, piece, std::as_bytes(std::span(int4_scales_)));
    }
    writer_.write(tensor_idx, piece, converted_);
  }

  const io::StoreReader& reader_;
  io::PieceWriter& writer_;
  std::vector<std::byte> weights_, converted_;
  std::vector<float> scales_;
  std::vector<Bf16> int4_scales_;
};

}  // namespace

void convert_store(const ConvertStoreOptions& options, const comm::Communicator& comm) {
  const ConversionReport report(comm.size());
  const host::StopSignals stop_signals;

  io::NewStore store;  // rank 0's
  std::string index_text;
  comm::on_root(comm, [&] {
    std::error_code missing;  // then it is another file
    if (std::filesystem::equivalent(options.store, options.out, missing))
      fail("--out {}: is the store that is read, whose int8 weights would be lost; name another file", options.out);
    const io::StoreReader reader(options.store, io::StoreReader::read_index(options.store), io::Verify::kFull);
    store = describe(reader, options.format);
    index_text = reader.index().serialize();
  });
  comm.broadcast(index_text, 0);

  const io::StoreIndex index = write_together(comm, options.out, options.force, store, [&](io::PieceWriter& writer) {
    const io::StoreReader reader(options.store, io::StoreIndex::parse(index_text, options.store), io::Verify::kFull);
    ShareWriter(reader, writer).write(comm.rank(), comm.size(), report);
  });
  report.print(options.out, index, fmt::format("of {} weights", name(options.format)));
}

}  // namespace moesaic::converters
