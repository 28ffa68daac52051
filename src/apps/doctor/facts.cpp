#include "apps/doctor/facts.hpp"

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/build.hpp"
#include "backend/backend.hpp"
#include "base/json_text.hpp"
#include "base/out_of_memory.hpp"
#include "comm/agree.hpp"
#include "comm/launcher.hpp"
#include "comm/share.hpp"
#include "comm/single_copy.hpp"
#include "comm/transport.hpp"
#include "host/binding.hpp"
#include "host/control_groups.hpp"
#include "host/memory.hpp"
#include "host/node.hpp"
#include "start/threads.hpp"

namespace moesaic::apps::doctor {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankFacts, host, node, processors, num_node_processors, cpu_quota, num_threads,
                                   thread_warnings, placement, cpu, isa, build, mpi_library, transport, transport_layer,
                                   networks, memory_transports, reads_neighbour, single_copy, has_rdma_adapter,
                                   launcher, slurm_tasks, slurm_nodes, memory_bytes, total_memory_bytes,
                                   shared_memory_bytes, lockable_bytes, address_space_bytes, open_files,
                                   process_memory_bytes, huge_pages)

namespace {

std::int64_t soft_limit(decltype(RLIMIT_MEMLOCK) resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return RankFacts::kUnlimited;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

int number_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : 0;
}

/// Who started this rank, and what Slurm was asked for. Under mpirun the variables of a Slurm step are those of
/// mpirun's own helpers, so the job's count.
void ask_launcher(RankFacts& facts) {
  const bool mpirun = comm::is_started_by_mpirun();
  const bool srun = !mpirun && std::getenv("SLURM_STEP_ID") != nullptr && std::getenv("SLURM_PROCID") != nullptr;
  facts.launcher = mpirun ? "mpirun" : srun ? "srun" : "none";
  facts.slurm_tasks = number_of(srun ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS");
  facts.slurm_nodes = number_of(srun ? "SLURM_STEP_NUM_NODES" : "SLURM_JOB_NUM_NODES");
}

void ask_limits(RankFacts& facts) {
  struct sysinfo machine {};
  if (::sysinfo(&machine) == 0)
    facts.total_memory_bytes =
        static_cast<std::int64_t>(machine.totalram) * static_cast<std::int64_t>(machine.mem_unit);
  facts.memory_bytes = host::available_memory_bytes();
  facts.shared_memory_bytes = host::available_shared_memory_bytes();
  facts.lockable_bytes = soft_limit(RLIMIT_MEMLOCK);
  facts.address_space_bytes = soft_limit(RLIMIT_AS);
  facts.open_files = soft_limit(RLIMIT_NOFILE);
  if (const auto limit = tightest_process_limit()) facts.process_memory_bytes = limit->left_bytes();
  facts.huge_pages = host::huge_pages();
}

bool has_entries(const char* folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder, ignored) && !std::filesystem::is_empty(folder, ignored);
}

RankFacts own_facts(const comm::Communicator& node, int num_threads, const TeamReport& team, bool reads_neighbour) {
  RankFacts facts;
  facts.host = host::host_name();
  facts.node = node.world_ranks().front();
  const host::ProcessorSet& mask = host::initial_mask();
  for (std::size_t i = 0; i < mask.size(); ++i)
    if (mask[i]) facts.processors.push_back(static_cast<int>(i));
  facts.num_node_processors = static_cast<int>(host::processors().size());
  facts.cpu_quota = host::ControlGroups().cpu_quota().processors;
  facts.num_threads = num_threads;
  facts.thread_warnings = team.warnings;
  facts.placement = team.placement;
  facts.cpu = host::cpu_name();
  facts.isa = backend::open({}, Numerics::kF32)->name();
  facts.build = build();
  char library[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MOESAIC_MPI(MPI_Get_library_version(library, &length));
  facts.mpi_library = std::string(library, static_cast<std::size_t>(length));
  facts.mpi_library.resize(std::min(facts.mpi_library.size(), facts.mpi_library.find(',')));
  const comm::Transport& transport = comm::transport_in_use();
  facts.transport = transport.text, facts.transport_layer = transport.layer;
  facts.networks = transport.networks, facts.memory_transports = transport.memory;
  facts.reads_neighbour = reads_neighbour;
  const char* single_copy = std::getenv(comm::kSingleCopySetting);
  facts.single_copy = single_copy ? single_copy : "";
  facts.has_rdma_adapter = has_entries("/sys/class/infiniband");
  ask_launcher(facts);
  ask_limits(facts);
  return facts;
}

}  // namespace

std::vector<RankFacts> gather_facts(const comm::Communicator& world, const comm::Communicator& node, int num_threads) {
  comm::together(world, [&] { num_threads = threads_per_rank(node, num_threads); });
  TeamReport team;
  comm::together(world, [&] { team = set_threads(node, num_threads); });
  const bool reads_neighbour = comm::reads_neighbour(node);
  std::string own;
  comm::together(world, [&] { own = json_text(nlohmann::json(own_facts(node, num_threads, team, reads_neighbour))); });
  std::vector<RankFacts> all;
  for (const std::string& text : comm::gather_texts(world, own)) all.push_back(parse_json(text, "the facts of a rank"));
  return all;
}

}  // namespace moesaic::apps::doctor
