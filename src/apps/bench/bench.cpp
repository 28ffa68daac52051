#include "apps/bench/bench.hpp"

#include <cstdio>

#include "apps/command.hpp"
#include "comm/mpi.hpp"

namespace moesaic::apps {
namespace {

struct Benchmark {
  const char* name;
  const char* summary;
  int (*run)(const std::vector<std::string>& arguments);
};

constexpr Benchmark kBenchmarks[] = {
    {"machine", "read bandwidth, multiply-add peaks, MPI_Alltoallv under mpirun", bench::run_machine},
    {"kernels", "matrix products and attention: rate, share of the peak, right or wrong", bench::run_kernels},
    {"model", "prompt and decode rates (under mpirun)", bench::run_model},
    {"dispatch", "dispatch and combine by all algorithms, against MPI's own exchanges (under mpirun)",
     bench::run_dispatch},
    {"load", "a store into memory, against read() of the same bytes (under mpirun)", bench::run_load},
};

void print_usage() {
  std::printf("usage: moesaic bench BENCHMARK [options]; moesaic bench BENCHMARK --help explains one\n\n");
  for (const Benchmark& benchmark : kBenchmarks) std::printf("  %-10s %s\n", benchmark.name, benchmark.summary);
}

/// Short spellings that Boost does not take as they are: -pg has two letters, -m and -t belong to shared options.
std::vector<std::string> spelled_out(std::vector<std::string> arguments) {
  for (std::string& argument : arguments) {
    if (argument == "-m") argument = "--model";
    if (argument == "-t") argument = "--threads";
    if (argument == "-pg") argument = "--pg";
  }
  return arguments;
}

}  // namespace

std::vector<const char*> bench::names() {
  std::vector<const char*> names;
  for (const Benchmark& benchmark : kBenchmarks) names.push_back(benchmark.name);
  return names;
}

int run_bench(const std::vector<std::string>& arguments) {
  if (arguments.empty()) fail("no benchmark named; see moesaic bench --help");
  if (arguments[0] == "--help" || arguments[0] == "-h") {
    if (comm::Communicator::world().rank() == 0) print_usage();
    return kSuccess;
  }
  for (const Benchmark& benchmark : kBenchmarks)
    if (arguments[0] == benchmark.name) return benchmark.run(spelled_out({arguments.begin() + 1, arguments.end()}));
  fail("unknown benchmark '{}'; see moesaic bench --help", arguments[0]);
}

}  // namespace moesaic::apps
