#include "synthetic/synthesize.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "config/config_file.hpp"
#include "host/progress.hpp"
#include "host/stop_signals.hpp"
#include "io/store_writer.hpp"
#include "synthetic/random_weights.hpp"

namespace moesaic::converters {
namespace {

constexpr std::int64_t kWorkItemBytes = 8 << 20;

/// Consecutive pieces of a tensor.
struct WorkItem {
  std::size_t tensor_idx;
  std::int64_t first_piece, num_pieces;
};

std::vector<WorkItem> work_items(const io::StoreIndex& index) {
  std::vector<WorkItem> items;
  for (std::size_t t = 0; t < index.tensors().size(); ++t) {
    const auto& spec = index.tensors()[t].spec;
    const std::int64_t step = std::max<std::int64_t>(1, kWorkItemBytes / spec.piece_bytes());
    for (std::int64_t piece = 0; piece < spec.num_pieces(); piece += step)
      items.push_back({t, piece, std::min(step, spec.num_pieces() - piece)});
  }
  return items;
}

/// Inputs of the contraction that a tensor takes part in; the embedding table does as head.
std::int64_t fan_in(const ModelConfig& c, const TensorRow& row) {
  return extent(c, row.cut == Cut::kRows ? row.columns : row.inputs);
}

void draw(const ModelConfig& config, const io::TensorSpec& spec, std::uint64_t seed, std::int64_t offset_bytes,
          std::span<std::byte> bytes) {
  const TensorRow& row = tensor_row(spec.role);
  const RandomTensor random(seed, spec.name);
  if (spec.dtype == DType::kInt8) {
    random.fill_int8(offset_bytes, {reinterpret_cast<std::int8_t*>(bytes.data()), bytes.size()});
    return;
  }
  const std::int64_t first = offset_bytes / static_cast<std::int64_t>(sizeof(float));
  const std::span values(reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float));
  const float deviation = static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in(config, row))));
  if (row.is_norm()) return random.fill_normal(first, 1.0f, 0.1f, values);
  if (!spec.name.ends_with("_scales")) return random.fill_normal(first, 0.0f, deviation, values);
  const float scale = deviation / static_cast<float>(RandomTensor::kInt8Deviation);
  random.fill_uniform(first, 0.8f * scale, 1.2f * scale, values);
}

void write_all(const SynthesizeOptions& options, io::PieceWriter& writer) {
  const io::StoreIndex& index = writer.index();
  const auto items = work_items(index);
  host::Progress progress("writing", index.weight_bytes());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;  // of progress and failure
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      std::vector<std::byte> buffer;
      for (std::size_t i; (i = next.fetch_add(1)) < items.size();) {
        host::StopSignals::check();
        const auto& [tensor_idx, first_piece, num_pieces] = items[i];
        const auto& spec = index.tensors()[tensor_idx].spec;
        const std::int64_t begin = spec.piece_offset_bytes(first_piece);
        const std::int64_t last = first_piece + num_pieces - 1;
        const std::int64_t end = spec.piece_offset_bytes(last) + spec.piece_bytes(last);
        buffer.resize(static_cast<std::size_t>(end - begin));
        draw(options.config, spec, options.seed, begin, buffer);
        writer.write(tensor_idx, first_piece, buffer);
        const std::scoped_lock lock(mutex);
        progress.report(writer.bytes_written());
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      failure = std::current_exception();
      next = items.size();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int t = 1; t < options.num_threads; ++t) threads.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void synthesize(const SynthesizeOptions& options) {
  check(options.config, options.name);
  const host::StopSignals stop_signals;
  io::NewStore store{options.config, {}};
  store.provenance = json_text(nlohmann::json{{"source_format", "synthetic"},
                                              {"source", options.name},
                                              {"seed", options.seed},
                                              {"scales", "bfloat16"},
                                              {"converter", "moesaic " MOESAIC_VERSION}});
  io::StoreDraft draft(options.out, store, options.force);
  io::PieceWriter writer(draft.temporary_path(), draft.index());
  write_all(options, writer);
  draft.record(writer.finish());
  draft.publish();
  spdlog::info("{}: {}", options.out, host::readable_bytes(draft.index().file_size_bytes));
}

}  // namespace moesaic::converters
