#include <optional>

#include "apps/command.hpp"
#include "apps/observations.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/log.hpp"
#include "comm/agree.hpp"
#include "engine/capture.hpp"
#include "engine/driver.hpp"
#include "engine/stage_table.hpp"
#include "io/hdf5.hpp"
#include "io/temporary_file.hpp"
#include "io/token_file.hpp"

namespace moesaic::apps {
namespace {

/// The result file, written row by row; rank 0 only.
class LogitsFile {
 public:
  LogitsFile(const std::string& path, const ModelConfig& config,
             const std::vector<std::vector<std::int32_t>>& sequences, bool hidden, bool routing)
      : place_(path), file_(io::Hdf5File::create(place_.temporary_path())) {
    const ModelConfig& c = config;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::string group = fmt::format("/seq{}/", i);
      const std::int64_t num_tokens = std::ssize(sequences[i]);
      file_.create_dataset<std::int32_t>(group + "tokens", {num_tokens})
          .write_rows<std::int32_t>({0}, std::span<const std::int32_t>(sequences[i]));
      logits_.push_back(file_.create_dataset<float>(group + "logits", {num_tokens, c.vocab_size}));
      if (hidden)
        hidden_.push_back(file_.create_dataset<float>(group + "hidden", {c.num_layers + 1, num_tokens, c.emb_size}));
      if (!routing) continue;
      const std::vector<std::int64_t> shape = {c.num_layers, num_tokens, c.num_selected_experts};
      experts_.push_back(file_.create_dataset<std::int32_t>(group + "experts", shape));
      gates_.push_back(file_.create_dataset<float>(group + "gates", shape));
    }
  }
  LogitsProbe logits_probe() {
    return [this](std::int64_t sequence, std::int32_t position, std::span<const float> logits) {
      at(logits_, sequence).write_rows<float>({position}, logits);
    };
  }
  CaptureSink capture_sink() {
    return {[this](std::int32_t sequence, std::int32_t position, std::int32_t index, std::span<const float> hidden) {
              at(hidden_, sequence).write_rows<float>({index, position}, hidden);
            },
            [this](std::int32_t sequence, std::int32_t position, std::int32_t layer,
                   std::span<const std::int32_t> experts, std::span<const float> gates) {
              at(experts_, sequence).write_rows<std::int32_t>({layer, position}, experts);
              at(gates_, sequence).write_rows<float>({layer, position}, gates);
            }};
  }
  void finish() {
    for (auto* datasets : {&logits_, &hidden_, &experts_, &gates_}) datasets->clear();
    file_.close();
    place_.publish();
  }

 private:
  static io::Hdf5Dataset& at(std::vector<io::Hdf5Dataset>& datasets, std::int64_t sequence) {
    return datasets[static_cast<std::size_t>(sequence)];
  }

  io::TemporaryFile place_;
  io::Hdf5File file_;
  std::vector<io::Hdf5Dataset> logits_, hidden_, experts_, gates_;
};

}  // namespace

int run_logits(const std::vector<std::string>& arguments) {
  ModelOptions model;
  std::string token_file, out;
  ObservationOptions observed;
  SchedulerOptions scheduler;
  bool hidden = false, routing = false;
  po::options_description options;
  options.add(model_options(model))
      .add(run_options(scheduler.prefill_chunk))
      .add(overlap_options(scheduler.overlap_rows))
      .add(wait_options())
      .add(result_options(OutputOption::kTaken));
  po::options_description more("logits");
  // clang-format off
  more.add_options()
      ("tokens", po::value(&token_file)->required(), "a JSON list of token lists")
      ("out", po::value(&out)->required(), "HDF5 file to write: /seqN/logits (T, V) float32")
      ("hidden", po::bool_switch(&hidden), "adds /seqN/hidden (L+1, T, D)")
      ("routing", po::bool_switch(&routing), "adds /seqN/experts and /seqN/gates (L, T, A), best first");
  // clang-format on
  options.add(more).add(observation_options(observed));
  const auto map = parse("logits", arguments, options);
  if (map.contains("help")) return kSuccess;

  start::Session session(model);
  const comm::Communicator& world = session.world();
  const ModelConfig& config = session.config();

  std::optional<LogitsFile> file;
  std::vector<std::vector<std::int32_t>> sequences;
  Observations observations(observed, config);
  plan::Workload workload;
  comm::on_root(world, [&] {
    observations.open_files({model.store, token_file, out});
    check_writable(out, "out", {model.store, token_file});
    open_results({model.store, token_file, out, observed.hash_file, observed.trace_file});
    sequences = io::read_token_file(token_file, {config.vocab_size, config.sequence_len});
    workload = start::workload_of(sequences, 0, scheduler.prefill_chunk, config);
    file.emplace(out, config, sequences, hidden, routing);
  });
  session.load(workload);

  Probes probes;
  Capture capture(world, hidden, routing, file ? file->capture_sink() : CaptureSink{});
  if (hidden || routing) probes.add(&capture);
  observations.add_to(probes);
  if (!probes.empty()) session.stage().watch(&probes);
  Engine engine(
      world, session.stage(), scheduler, nullptr,
      {.logits = file ? file->logits_probe() : LogitsProbe{}, .observer = hidden || routing ? &capture : nullptr});
  const Hash128 hash = hash_of_answers(world, engine, logits_requests(sequences));
  observations.publish(world, fmt::format("logits {}", session.numeric().text()));
  comm::on_root(world, [&] { file->finish(); });
  const std::string table = stage_table(world);
  spdlog::info("{}", table);
  if (session.is_root()) print("logits hash: {}\n", hash.hex());
  return kSuccess;
}

}  // namespace moesaic::apps
