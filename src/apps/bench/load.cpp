#include <variant>

#include "apps/bench/bench.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/log.hpp"
#include "base/parallel.hpp"
#include "comm/agree.hpp"
#include "host/memory.hpp"
#include "io/file.hpp"
#include "measure/limits.hpp"

namespace moesaic::apps::bench {
namespace {

/// Bytes of one rank, or of all.
struct LoadBytes {
  double read = 0;    ///< of tensors
  double needed = 0;  ///< of the store: what the rank owns, once
  double owned = 0;   ///< weights in memory
};

/// int8 matrices may have one group of scales for all leaves.
double needed_bytes(const backend::Matrix& w, WeightFormat format, std::int64_t scale_groups) {
  const auto& [type, leaves, leaf_size, columns] = w.shape;
  const std::int64_t bytes = plan::matrix_bytes(format, leaves, leaf_size, columns);
  if (format != WeightFormat::kInt8 || scale_groups > 1) return static_cast<double>(bytes);
  return static_cast<double>(bytes - (leaves - 1) * columns * static_cast<std::int64_t>(sizeof(float)));
}

/// What the store has for the weights of a rank: matrices in its format, everything else fp32.
double needed_bytes(const ModelWeights& weights, const io::StoreIndex& index) {
  constexpr auto kFloat = static_cast<double>(sizeof(float));
  const double width = static_cast<double>(index.config().emb_size);
  const auto matrix = [&](const backend::Matrix& w, std::int64_t scale_groups) {
    return needed_bytes(w, index.format(), scale_groups);
  };
  double bytes = static_cast<double>(weights.embedding.shape.num_columns) * width * kFloat;
  if (weights.final_norm) bytes += width * kFloat;
  for (const LayerWeights& w : weights.layers) {
    bytes += matrix(w.qkv, 1) + matrix(w.attn_out, index.groups().attn_out);
    bytes += width * kFloat * static_cast<double>(4 + index.config().num_experts);  // norms, router
    for (const auto* matrices : {&w.experts.gate, &w.experts.up})
      for (const backend::Matrix& m : *matrices) bytes += matrix(m, 1);
    for (const backend::Matrix& m : w.experts.down) bytes += matrix(m, index.groups().moe_down);
  }
  return bytes;
}

/// Collective: the store becomes a stage that could run, and goes again. Of this rank.
LoadBytes load(const ModelOptions& options) {
  const start::Session session(options);
  session.check_memory({.num_sequences = 1, .context = 1, .batch_rows = 1});
  ModelWeights weights = session.load_weights();
  const LoadBytes bytes{static_cast<double>(session.reader().bytes_read()),
                        needed_bytes(weights, session.reader().index()),
                        static_cast<double>(weights.memory.size_bytes())};
  const Stage stage(session.world(), session.grid(), session.backend(), std::move(weights));
  return bytes;
}

/// Where plain reading puts the bytes.
enum class Into : std::uint8_t {
  kCache,  ///< the same small memory again and again: what read() alone can do
  kFresh,  ///< memory of the same size, as the weights have it, that the system has to provide first: what a loader can
           ///< do
};

/// Reads `size_bytes` of a file with all threads. Ranks begin at different places.
void read_plainly(const comm::Communicator& world, const std::string& path, double size_bytes, Into into) {
  // Fresh memory: chunks of whole huge pages, so that no two threads wait for the same page.
  const std::int64_t chunk_bytes = into == Into::kCache ? 256 << 10 : 4 << 20;
  const io::File file = io::File::open_for_reading(path);
  const std::int64_t bytes = std::min(static_cast<std::int64_t>(size_bytes), file.size_bytes());
  const std::int64_t begin = (file.size_bytes() - bytes) / std::max(1, world.size() - 1) * world.rank();
  AlignedBuffer fresh(into == Into::kFresh ? static_cast<std::size_t>(bytes) : 0);
  parallel_for((bytes + chunk_bytes - 1) / chunk_bytes, [&](std::int64_t chunk) {
    thread_local AlignedBuffer scratch;
    scratch.reserve(static_cast<std::size_t>(chunk_bytes));
    const std::int64_t at = chunk * chunk_bytes;
    std::byte* to = into == Into::kCache ? scratch.data() : fresh.data() + at;
    file.read_at(begin + at, {to, static_cast<std::size_t>(std::min(chunk_bytes, bytes - at))});
  });
}

/// One way of getting at the bytes, and how long it took each time.
struct LoadTest {
  std::string name;
  std::variant<Into, io::Verify> how;  ///< plain reading, or loading
  std::vector<double> seconds;
};

constexpr Column kColumns[] = {{"test", "test"},
                               {"layout", "layout"},
                               {"n_threads", "threads a rank"},
                               {"avg_s", "mean s", 3},
                               {"stddev_s", "sd s", 3},
                               {"gbps", "GB/s", 2},
                               {"percent_of_limit", "% of read() into fresh memory", 1},
                               {"percent_of_cached_read", "% of read()", 1},
                               {"read_over_needed", "bytes read / needed", 4},
                               {"peak_over_owned", "peak memory / owned", 3},
                               {"right", "result"}};

Record record_of(const LoadTest& test, const LoadBytes& bytes, double peak_over_owned, double cached_s,
                 double fresh_s) {
  const Statistics s = statistics(test.seconds);
  const bool loads = std::holds_alternative<io::Verify>(test.how);
  return {{"test", test.name},
          {"avg_s", s.mean},
          {"stddev_s", s.deviation},
          {"samples_s", test.seconds},
          {"bytes", bytes.needed},
          {"gbps", bytes.needed / s.mean / 1e9},
          {"share_of_limit", fresh_s / s.mean},
          {"percent_of_limit", 100 * fresh_s / s.mean},
          {"percent_of_cached_read", 100 * cached_s / s.mean},
          {"read_over_needed", loads ? Record(bytes.read / bytes.needed) : Record(nullptr)},
          {"owned_bytes", bytes.owned},
          {"peak_over_owned", loads ? Record(peak_over_owned) : Record(nullptr)},
          {"right", true}};  // a piece that fails its check ends the run
}

/// Collective: all tests by turns. The first round is left out: it brings the file into the page cache.
void measure(const comm::Communicator& world, ModelOptions model, double own_bytes, std::int64_t repetitions,
             std::vector<LoadTest>& tests) {
  for (std::int64_t r = 0; r <= repetitions; ++r)
    for (LoadTest& test : tests) {
      const double seconds = timed_together(world, [&] {
        if (const auto* into = std::get_if<Into>(&test.how)) return read_plainly(world, model.store, own_bytes, *into);
        model.verify = std::get<io::Verify>(test.how);
        (void)load(model);
      });
      if (r > 0) test.seconds.push_back(seconds);
    }
}

}  // namespace

int run_load(const std::vector<std::string>& arguments) {
  ModelOptions model;
  OutputFormat format = OutputFormat::kMarkdown;
  std::int64_t repetitions = 3;
  po::options_description more("load (without --verify: full, fast and off by turns)"), options;
  more.add_options()("repetitions,r",
                     ranged(&repetitions, "repetitions", std::int64_t{1}, std::int64_t{1} << 20)->default_value(3),
                     "of each test, after one that is left out");
  options.add(more).add(model_options(model)).add(wait_options("300")).add(output_options(format));
  const auto map = parse("bench load", arguments, options);
  if (map.contains("help")) return kSuccess;

  std::vector<LoadTest> tests = {{"read()", Into::kCache, {}}, {"read() into fresh memory", Into::kFresh, {}}};
  for (const io::Verify verify : {io::Verify::kFull, io::Verify::kFast, io::Verify::kOff})
    if (map["verify"].defaulted() || model.verify == verify)
      tests.push_back({fmt::format("--verify {}", io::name(verify)), verify, {}});

  const comm::Communicator world = comm::Communicator::world();
  comm::on_root(world, [&] { open_results({model.store}); });
  std::string layout;
  int num_threads = 0;
  std::string isa;
  {
    const start::Session session(model);
    layout = session.layout().text();
    num_threads = session.num_threads();
    isa = session.backend()->name();
  }
  const LoadBytes own = load(model);
  const double peak_over_owned = world.max(static_cast<double>(host::peak_memory_bytes()) / own.owned);
  const LoadBytes all{world.sum(own.read), world.sum(own.needed), world.sum(own.owned)};
  measure(world, model, own.needed, repetitions, tests);

  Table table(format, this_testbed(world, isa), {std::begin(kColumns), std::end(kColumns)});
  if (world.rank() != 0) return kSuccess;
  for (const LoadTest& test : tests) {
    Record record =
        record_of(test, all, peak_over_owned, statistics(tests[0].seconds).mean, statistics(tests[1].seconds).mean);
    record["layout"] = layout;
    record["n_threads"] = num_threads;
    record["model_filename"] = model.store;
    table.add(std::move(record));
  }
  print(table);
  return kSuccess;
}

}  // namespace moesaic::apps::bench
