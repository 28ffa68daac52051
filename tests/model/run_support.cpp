#include "run_support.hpp"

#include "engine/layer_hashes.hpp"
#include "io/token_file.hpp"
#include "support/test_data.hpp"

namespace moesaic::test {

std::optional<Golden> open_golden(const std::string& name, Numerics numerics) {
  return open_golden(name, format_of(numerics).value_or(WeightFormat::kInt8));
}

std::optional<Golden> open_golden(const std::string& name, WeightFormat format) {
  const auto folder = golden(name);
  if (folder.empty()) return std::nullopt;
  const std::string path =
      store(format == WeightFormat::kInt8 ? name : fmt::format("{}.{}", name, moesaic::name(format)));
  io::StoreIndex index = io::StoreReader::read_index(path);
  auto sequences = io::read_token_file((folder / "tokens.json").string(), {index.config().vocab_size, {}});
  return Golden{name, path, std::move(index), std::move(sequences)};
}

std::string RunSetting::text() const {
  return fmt::format("{} {} {} {} chunk {} threads {} dispatch {} node-ranks {} overlap {} copies {}", layout.text(),
                     backend, NumericSetting{numerics, dispatch.payload}.text(), name(isa), prefill_chunk, num_threads,
                     dispatch.algorithm ? plan::name(*dispatch.algorithm) : "auto", dispatch.node_ranks, overlap_rows,
                     placement ? placement->num_copies() : 0);
}

std::string run_golden(const comm::Communicator& world, const Golden& golden, const RunSetting& setting,
                       const std::vector<std::vector<std::int32_t>>& sequences, LogitsProbe logits_probe,
                       CaptureSink capture_sink) {
  set_threads(world.split_node(), setting.num_threads);
  const auto backend = backend::open({setting.backend, std::string(name(setting.isa))}, setting.numerics);
  const io::StoreReader reader(golden.store, golden.index, io::Verify::kFull);
  const ModelConfig& config = golden.index.config();
  const plan::Grid grid =
      setting.placement ? plan::Grid(config, setting.layout, *setting.placement) : plan::Grid(config, setting.layout);
  Stage stage(world, grid, backend, load_weights(reader, grid, plan::WorldRank{world.rank()}, *backend),
              setting.dispatch);
  // Sinks are rank 0's, but capturing is everybody's: an int tells whether it was asked for.
  const bool captures = world.max(capture_sink.hidden ? 1 : 0) > 0;
  Capture capture(world, captures, captures, std::move(capture_sink));
  LayerHashes layer_hashes;
  Probes probes;
  if (captures) probes.add(&capture);
  if (!setting.layer_hash_file.empty()) probes.add(&layer_hashes);
  if (!probes.empty()) stage.watch(&probes);
  SchedulerOptions scheduler;
  scheduler.prefill_chunk = setting.prefill_chunk;
  scheduler.overlap_rows = setting.overlap_rows;
  Engine engine(world, stage, scheduler, nullptr,
                {.logits = std::move(logits_probe), .observer = captures ? &capture : nullptr});
  const Hash128 hash = hash_of_answers(world, engine, logits_requests(sequences));
  if (!setting.layer_hash_file.empty())
    layer_hashes.write(world, setting.layer_hash_file, fmt::format("logits {}", name(setting.numerics)));
  return hash.hex();
}

}  // namespace moesaic::test
