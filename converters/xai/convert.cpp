#include "xai/convert.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/json_text.hpp"
#include "base/log.hpp"
#include "comm/agree.hpp"
#include "config/config_file.hpp"
#include "host/stop_signals.hpp"
#include "io/file.hpp"
#include "io/mapped_file.hpp"
#include "io/store_writer.hpp"
#include "io/tokenizer.hpp"
#include "store/write_together.hpp"
#include "xai/checkpoint.hpp"
#include "xai/parameters.hpp"
#include "xai/repack.hpp"

namespace moesaic::converters {
namespace {

using nlohmann::json;

/// SentencePiece models have a few MB; Grok-1's has 2.2.
constexpr std::int64_t kLargestTokenizerBytes = 256 << 20;

/// What rank 0 has found, as all ranks get it; but for the folder, whose name need not be UTF-8.
std::string serialize(const XaiCheckpoint& checkpoint) {
  return json_text(json{{"config", to_json(checkpoint.config)},
                        {"attn_out", checkpoint.groups.attn_out},
                        {"moe_down", checkpoint.groups.moe_down}});
}

io::NewStore describe(const XaiCheckpoint& checkpoint, const ConvertOptions& options) {
  io::NewStore store{checkpoint.config, checkpoint.groups};
  store.provenance = json_text(json{{"source_format", "xai"},
                                    {"source", checkpoint.name},
                                    {"config", checkpoint.config_file.empty() ? "Grok-1's" : "config.json"},
                                    {"scales", checkpoint.scales_type},
                                    {"converter", "moesaic " MOESAIC_VERSION}});
  const auto file = options.tokenizer ? options.tokenizer : checkpoint.tokenizer_file;
  if (!file) {
    spdlog::info("no tokenizer.model beside the checkpoint: the store will take and give token ids only");
    return store;
  }
  store.tokenizer_model = io::read_text_file(*file, kLargestTokenizerBytes);
  store.tokenizer_pieces = io::Tokenizer::check_in_child(store.tokenizer_model, *file);
  if (store.tokenizer_pieces > checkpoint.config.vocab_size)
    fail("{}: the tokenizer has {} pieces, the model's vocabulary {}: it belongs to another model", *file,
         store.tokenizer_pieces, checkpoint.config.vocab_size);
  return store;
}

/// The parameters of one rank: the largest first, each to the rank with the least so far.
std::vector<XaiParameter> share(const std::vector<XaiParameter>& all, int rank, int num_ranks) {
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t i) { return all[i].weight_bytes(); });
  std::vector<std::int64_t> load(static_cast<std::size_t>(num_ranks));
  std::vector<XaiParameter> mine;
  for (const auto i : order) {
    const auto least = std::ranges::min_element(load);
    *least += all[i].weight_bytes();
    if (least - load.begin() == rank) mine.push_back(all[i]);
  }
  return mine;
}

/// Files of one rank's parameters, opened one at a time.
class Source {
 public:
  Source(const std::string& folder, const XaiParameter& parameter)
      : file_path_(folder + "/" + parameter.file),
        what_(fmt::format("{} ({})", file_path_, parameter.path)),
        map_(file_path_),
        tensor_(read_pickle(map_.bytes(), what_)) {
    check_tensor(parameter, tensor_, file_path_);
  }

  const std::string& what() const { return what_; }
  const PickledTensor& tensor() const { return tensor_; }
  const io::MappedFile& map() const { return map_; }

 private:
  std::string file_path_;
  std::string what_;
  io::MappedFile map_;
  PickledTensor tensor_;
};

void convert_weight(const XaiParameter& parameter, const Source& source, io::PieceWriter& writer,
                    host::Progress& progress) {
  const auto tensor_idx = writer.index().tensor_idx(parameter.weight);
  const auto& spec = writer.index().tensors()[tensor_idx].spec;
  const PickledArray& array = source.tensor().weight;
  std::vector<std::byte> decoded;
  const auto release = [&](std::span<const std::byte> part) { source.map().release(part); };
  const auto payload = payload_bytes(array, decoded, source.what(), release);
  repack(parameter, spec, array.fortran_order, payload, [&](const Repacked& part) {
    host::StopSignals::check();
    if (spec.dtype == DType::kF32) {
      const std::int64_t first_elem =
          spec.piece_offset_bytes(part.first_piece) / static_cast<std::int64_t>(sizeof(float));
      check_finite(part.bytes, first_elem, source.what());
    }
    writer.write(tensor_idx, part.first_piece, part.bytes);
    if (!array.latin1) release(part.source);
    progress.report(writer.bytes_written());
  });
}

void convert_scales(const XaiParameter& parameter, const Source& source, io::PieceWriter& writer) {
  const auto tensor_idx = writer.index().tensor_idx(parameter.scales);
  const PickledArray& array = *source.tensor().scales;
  const std::string what = source.what() + ": scales";
  std::vector<std::byte> decoded;
  const auto payload = payload_bytes(array, decoded, what);
  const auto values = repack_scales(array, payload, what);
  writer.write(tensor_idx, 0, std::as_bytes(std::span(values)));
}

void convert_share(const std::vector<XaiParameter>& mine, const std::string& folder, const ConversionReport& report,
                   io::PieceWriter& writer) {
  const io::StoreIndex& index = writer.index();
  std::int64_t total_bytes = 0;
  for (const auto& parameter : mine) {
    total_bytes += index.tensor(parameter.weight).spec.size_bytes();
    if (!parameter.scales.empty()) total_bytes += index.tensor(parameter.scales).spec.size_bytes();
  }
  host::Progress progress = report.progress(total_bytes);
  for (const auto& parameter : mine) {
    const Source source(folder, parameter);
    if (!parameter.scales.empty()) convert_scales(parameter, source, writer);
    convert_weight(parameter, source, writer, progress);
  }
}

}  // namespace

void convert_xai(const ConvertOptions& options, const comm::Communicator& comm) {
  const ConversionReport report(comm.size());
  const host::StopSignals stop_signals;

  io::NewStore store;  // rank 0's
  std::string text, folder;
  comm::on_root(comm, [&] {
    const XaiCheckpoint checkpoint = find_checkpoint(options.checkpoint);
    folder = checkpoint.folder;
    store = describe(checkpoint, options);
    text = serialize(checkpoint);
  });
  comm.broadcast(text, 0);
  comm.broadcast(folder, 0);
  const json found = parse_json(text, options.checkpoint);
  const ModelConfig config = model_config_from_json(found["config"], options.checkpoint);
  const io::ScaleGroups groups{found["attn_out"].get<std::int64_t>(), found["moe_down"].get<std::int64_t>()};
  const auto mine = share(xai_parameters(config, groups), comm.rank(), comm.size());

  // Types and shapes of everything, before the first byte is written.
  comm::together(comm, [&] {
    for (const auto& parameter : mine) (void)Source(folder, parameter);
  });

  const io::StoreIndex index = write_together(comm, options.out, options.force, store, [&](io::PieceWriter& writer) {
    convert_share(mine, folder, report, writer);
  });
  report.print(options.out, index, fmt::format("from {} parameters", xai_parameters(config, groups).size()));
}

}  // namespace moesaic::converters
