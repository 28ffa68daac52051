#include "apps/bench/bench.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "comm/agree.hpp"
#include "measure/limits.hpp"
#include "start/memory_check.hpp"

namespace moesaic::apps::bench {
namespace {

struct MachineOptions {
  std::string isa, threads;
  std::int64_t memory_mib = kReadMemory_bytes >> 20;
  OutputFormat format = OutputFormat::kMarkdown;
};

Record record_of(const std::string& test, int num_threads, const Limit& limit, const char* unit) {
  return {{"test", test},        {"n_threads", num_threads},  {"rate", limit.rate.median},
          {"unit", unit},        {"least", limit.rate.least}, {"most", limit.rate.most},
          {"right", limit.right}};
}

/// All ranks at the same time.
void measure_node(const comm::Communicator& world, const MachineOptions& options, const cpu::PeakLoops& loops,
                  int num_threads, std::vector<Record>& records) {
  {
    const ReadMemory memory(options.memory_mib << 20, num_threads);
    const Limit limit = read_bandwidth(world, loops, memory.bytes(), num_threads, memory.sum());
    records.push_back(record_of("memory read", num_threads, limit, "GB/s"));
    records.back()["num_streams"] = limit.num_streams;
    records.back()["size_mib"] = options.memory_mib;
  }
  for (const Factors factors : kAllFactors)
    records.push_back(record_of(fmt::format("{} multiply-add", name(factors)), num_threads,
                                multiply_add_peak(world, loops, factors, num_threads), "GMAC/s"));
}

}  // namespace

int run_machine(const std::vector<std::string>& arguments) {
  MachineOptions machine;
  po::options_description options("machine");
  auto add = options.add_options();
  add("threads", po::value(&machine.threads), "threads of each rank, a list; default: 1 to all that the rank may have");
  add("isa", po::value(&machine.isa)->default_value("auto"), backend::kIsaOptions);
  add("memory",
      ranged(&machine.memory_mib, "memory", std::int64_t{1}, std::int64_t{1} << 20)->default_value(machine.memory_mib),
      "MiB that each rank reads; far more than the caches hold");
  options.add(wait_options("300")).add(output_options(machine.format));
  if (parse("bench machine", arguments, options).contains("help")) return kSuccess;

  const comm::Communicator world = comm::Communicator::world();
  comm::on_root(world, [] { open_results({}); });
  const cpu::Isa isa = cpu::isa_from_option(machine.isa);
  std::vector<std::int64_t> thread_counts;
  if (!machine.threads.empty()) {
    thread_counts = parse_list(machine.threads, "threads", 1, 4096);
  } else {
    const int most =
        static_cast<int>(world.min(threads_per_rank(world.split_node(), 0)));  // all ranks measure together
    for (int n = 1; n <= most; ++n) thread_counts.push_back(n);
  }

  require_memory(world, {machine.memory_mib << 20, "--memory: what each rank reads", "give a smaller --memory"});
  std::vector<Record> records;
  for (const std::int64_t num_threads : thread_counts)
    measure_node(world, machine, cpu::peak_loops(isa), static_cast<int>(num_threads), records);
  if (world.size() > 1)
    for (const int peer_kib : {16, 64, 256, 1024, 4096, 16384}) {
      const Limit limit = alltoallv_bandwidth(world, peer_kib << 10);
      records.push_back(record_of(fmt::format("MPI_Alltoallv, {} KiB a peer", peer_kib), 1, limit, "GB/s a rank"));
      records.back()["peer_bytes"] = peer_kib << 10;
    }

  Table table(machine.format, this_testbed(world, std::string(name(isa))),
              {{"test", "test"},
               {"n_threads", "threads a rank"},
               {"rate", "median", 1},
               {"least", "least", 1},
               {"most", "most", 1},
               {"unit", "unit"},
               {"right", "result"}});
  bool right = true;
  for (Record& record : records) {
    right &= record["right"].get<bool>();
    table.add(std::move(record));
  }
  if (world.rank() == 0) print(table);
  return right ? kSuccess : kFailed;
}

}  // namespace moesaic::apps::bench
