#include "apps/selftest.hpp"

#include <sys/resource.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "apps/command.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/counted.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "base/out_of_memory.hpp"
#include "base/units.hpp"
#include "comm/agree.hpp"
#include "comm/exchange.hpp"
#include "comm/transport.hpp"
#include "cpu/isa.hpp"
#include "engine/driver.hpp"
#include "host/memory.hpp"
#include "host/node.hpp"
#include "host/thread_count.hpp"
#include "io/file.hpp"
#include "io/token_file.hpp"
#include "start/memory_check.hpp"

namespace moesaic::apps {
namespace {

/// What is run again and again: a store whose index rank 0 has read, and some token lists.
struct Case {
  std::string store;
  io::StoreIndex index;
  std::vector<std::vector<std::int32_t>> sequences;
  std::map<std::string, std::string>
      committed;  ///< hash by numerics that the demo model must have; empty: another store
};

/// Some sequences of unequal length that reach all of the vocabulary.
std::vector<std::vector<std::int32_t>> make_sequences(const ModelConfig& config) {
  std::vector<std::vector<std::int32_t>> sequences;
  std::uint64_t state = 1;
  for (const std::int64_t length : {70, 1, 9, 33}) {
    auto& tokens = sequences.emplace_back();
    for (std::int64_t i = 0; i < std::min(length, config.sequence_len); ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      tokens.push_back(
          static_cast<std::int32_t>(1 + (state >> 33) % static_cast<std::uint64_t>(config.vocab_size - 1)));
    }
  }
  return sequences;
}

/// The hash of a run on all ranks of a communicator; every rank gets rank 0's.
Hash128 hash_of(const comm::Communicator& comm, const Case& test, const plan::Layout& layout, const std::string& isa,
                Numerics numerics, std::int64_t prefill_chunk) {
  const io::StoreReader reader(test.store, test.index, io::Verify::kOff);
  const plan::Grid grid(test.index.config(), layout);
  const auto backend = backend::open({"cpu", isa}, numerics);
  Stage stage(comm, grid, backend, load_weights(reader, grid, plan::WorldRank{comm.rank()}, *backend));
  SchedulerOptions scheduler;
  scheduler.prefill_chunk = prefill_chunk;
  Engine engine(comm, stage, scheduler);
  return hash_of_answers(comm, engine, logits_requests(test.sequences));
}

std::optional<std::string> differs(const Hash128& expected, const Hash128& found) {
  if (expected == found) return std::nullopt;
  return fmt::format("hash {}, expected {}", found.hex(), expected.hex());
}

/// At most `most` layouts of the job's rank count, spread over all there are.
std::vector<plan::Layout> some_layouts(const ModelConfig& config, int ranks, std::size_t most) {
  const auto all = plan::all_layouts(config, ranks);
  std::vector<plan::Layout> some;
  const std::size_t count = std::min(most, all.size());
  for (std::size_t i = 0; i < count; ++i) some.push_back(all[i * all.size() / count]);
  return some;
}

/// Every rank computes on its own with every path, then all together in several layouts.
void check_numerics(const comm::Communicator& world, const Case& test, Numerics numerics, SelftestReport& report) {
  const auto self = comm::Communicator::self();
  const plan::Layout alone;
  const Hash128 expected = hash_of(self, test, alone, "portable", numerics, 0);
  std::string root_hex = expected.hex();
  world.broadcast(root_hex, 0);
  report.check(fmt::format("{} portable path, the same on all ranks", name(numerics)),
               differs(Hash128::from_hex(root_hex), expected), expected.hex());
  if (const auto committed = test.committed.find(std::string(name(numerics))); committed != test.committed.end())
    report.check(fmt::format("{} hash of the demo model, as committed", name(numerics)),
                 differs(Hash128::from_hex(committed->second), expected));
  for (const cpu::Isa isa : cpu::kAllIsas) {
    if (isa == cpu::Isa::kPortable || numerics == Numerics::kF32) continue;
    const bool everywhere = world.min(cpu::supported(isa)) > 0;
    if (!everywhere) {
      report.note(fmt::format("SKIP  {} path: not on every processor of this job", name(isa)));
      continue;
    }
    report.check(fmt::format("{} {} path against the portable one", name(numerics), name(isa)),
                 differs(expected, hash_of(self, test, alone, std::string(name(isa)), numerics, 16)));
  }
  constexpr std::size_t kMostLayouts = 6;
  const auto layouts = some_layouts(test.index.config(), world.size(), kMostLayouts);
  report.note(fmt::format("      {} of the {} layouts that {} ranks allow:", layouts.size(),
                          plan::all_layouts(test.index.config(), world.size()).size(), world.size()));
  for (const plan::Layout& layout : layouts)
    report.check(fmt::format("{} {} ranks, {}", name(numerics), world.size(), layout.text()),
                 differs(expected, hash_of(world, test, layout, "auto", numerics, 7)));
}

/// Every rank sends every other a message that names both, in sizes around the switch-over points of MPI's protocols.
void check_transport(const comm::Communicator& world, SelftestReport& report) {
  const auto backend = backend::open({}, Numerics::kF32);
  const auto queue = backend->make_queue();
  comm::RowExchange exchange(world, *backend, *queue);
  const auto ranks = static_cast<std::size_t>(world.size());
  const std::vector<std::int32_t> counts(ranks, 1);
  std::optional<std::string> problem;
  for (const std::size_t size_bytes : {std::size_t{8}, std::size_t{4096}, std::size_t{1} << 20}) {
    backend::Buffer send_buffer(*backend, backend::Space::kPinned, ranks * size_bytes),
        recv_buffer(*backend, backend::Space::kPinned, ranks * size_bytes);
    const std::span send(send_buffer.host<std::uint64_t>(), ranks * size_bytes / 8),
        recv(recv_buffer.host<std::uint64_t>(), send.size());
    const auto content = [&](std::size_t from, std::size_t to, std::size_t i) { return from << 40 | to << 20 | i; };
    const std::size_t words = size_bytes / 8;
    const auto me = static_cast<std::size_t>(world.rank());
    for (std::size_t to = 0; to < ranks; ++to)
      for (std::size_t i = 0; i < words; ++i) send[to * words + i] = content(me, to, i);
    exchange.all_to_all(send_buffer.slice(), counts, recv_buffer.slice(), counts, size_bytes);
    for (std::size_t from = 0; from < ranks; ++from)
      for (std::size_t i = 0; i < words; ++i)
        if (recv[from * words + i] != content(from, me, i) && !problem)
          problem = fmt::format("{} bytes from rank {} arrived wrong", size_bytes, from);
  }
  char version[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MOESAIC_MPI(MPI_Get_library_version(version, &length));
  const std::string library(
      version, std::min<std::size_t>(static_cast<std::size_t>(length), std::string_view(version).find(',')));
  report.check("transport: all-to-all of 8 B, 4 KiB and 1 MiB", problem, library + ", " + comm::transport());
}

void check_machine(const comm::Communicator& world, int num_threads, const TeamReport& team, SelftestReport& report) {
  const comm::Communicator node = world.split_node();
  const int allowed = host::allowed_processors();
  // Ranks that share processors are slow, but as right as others.
  report.check(
      "binding",
      allowed < num_threads ? std::optional(fmt::format("{}: {}", host::host_name(), team.warnings.at(0)))
                            : std::nullopt,
      fmt::format("{} a rank on {}, {} on {}; {}", counted(num_threads, "thread"), counted(allowed, "processor"),
                  counted(node.size(), "rank"), host::host_name(), team.placement));
  constexpr double kGiB = 1 << 30;
  const std::int64_t of_node = host::available_memory_bytes(), of_process = process_memory_left_bytes();
  const auto available = static_cast<double>(std::min(of_node, of_process));
  const std::string place =
      host::host_name() + (of_process < of_node ? fmt::format(" by {}", tightest_process_limit()->option) : "");
  rlimit locked{};
  getrlimit(RLIMIT_MEMLOCK, &locked);
  report.check("memory",
               available < 0.25 * kGiB ? std::optional(fmt::format("{:.2f} GiB left on {}", available / kGiB, place))
                                       : std::nullopt,
               fmt::format("{:.1f} GiB left on {}, lockable: {}", available / kGiB, place,
                           locked.rlim_cur == RLIM_INFINITY
                               ? "unlimited"
                               : fmt::format("{:.0f} MiB", static_cast<double>(locked.rlim_cur) / kMiB)));
}

/// The store, or the demo model with what it must give.
Case make_case(const comm::Communicator& world, const std::string& store) {
  const bool demo = store.empty();
  const std::string file = demo ? shared_file("demo.h5") : store;
  std::string index_text;
  comm::on_root(world, [&] { index_text = io::StoreReader::read_index(file).serialize(); });
  world.broadcast(index_text, 0);
  start::require_same_store(world, file);
  Case test{file, io::StoreIndex::parse(index_text, file), {}, {}};
  comm::together(world, [&] {
    const ModelConfig& config = test.index.config();
    if (!demo) {
      test.sequences = make_sequences(config);
      return;
    }
    test.sequences = io::read_token_file(shared_file("demo.tokens.json"), {config.vocab_size, config.sequence_len});
    constexpr std::int64_t kLargest_bytes = 1 << 20;
    const std::string file = shared_file("hashes.json");
    test.committed = parse_json(io::read_text_file(file, kLargest_bytes), file).at("demo");
  });
  return test;
}

}  // namespace

void SelftestReport::check(const std::string& what, const std::optional<std::string>& problem,
                           const std::string& facts) {
  std::optional<std::string> first = problem;
  try {
    comm::agree(world_, problem);
  } catch (const Error& error) {
    first = error.what();
  }
  ++num_checks_;
  const std::string& detail = first ? *first : facts;
  const std::string line = what + (detail.empty() ? "" : ": " + detail);
  if (first) failures_.push_back(line);
  note((first ? "FAIL  " : "PASS  ") + line);
}

void SelftestReport::note(const std::string& line) const {
  if (world_.rank() != 0 || print_ == Print::kNo) return;
  show(line + "\n");
}

std::string shared_file(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "share/moesaic" / name)
      .string();
}

void selftest(const comm::Communicator& world, std::string store, SelftestReport& report) {
  const Case test = make_case(world, store);
  check_transport(world, report);
  for (const Numerics numerics : kAllNumerics)
    if (const WeightFormat format = test.index.format(); format_of(numerics).value_or(format) == format)
      check_numerics(world, test, numerics, report);
}

int run_selftest(const std::vector<std::string>& arguments) {
  std::string store;
  int num_threads = 0;
  po::options_description options("selftest");
  // clang-format off
  options.add_options()
      ("model", po::value(&store), "the store to compute with; default: the demo model that comes with the build")
      ("threads", ranged(&num_threads, "threads", 0, 4096)->default_value(0), "threads of each rank; 0: chosen");
  // clang-format on
  options.add(wait_options()).add(result_options());
  const auto map = parse("selftest", arguments, options);
  if (map.contains("help")) return kSuccess;

  const comm::Communicator world = comm::Communicator::world(), node = world.split_node();
  comm::on_root(world, [&] { open_results({store}); });
  comm::together(world, [&] { num_threads = threads_per_rank(node, num_threads); });
  TeamReport team;
  comm::together(world, [&] { team = set_threads(node, num_threads); });
  log_warnings(world, team.warnings);

  SelftestReport report(world, SelftestReport::Print::kYes);
  check_machine(world, num_threads, team, report);
  selftest(world, store, report);
  const bool passed = report.failures().empty();
  report.note(passed ? "selftest passed" : "selftest FAILED");
  return passed ? kSuccess : kFailed;
}

}  // namespace moesaic::apps
