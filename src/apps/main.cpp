#include <fcntl.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>

#include "apps/build.hpp"
#include "apps/command.hpp"
#include "apps/help.hpp"
#include "apps/options.hpp"
#include "apps/plan_costs.hpp"
#include "apps/results.hpp"
#include "apps/shown_command_line.hpp"
#include "base/denormals.hpp"
#include "base/log.hpp"
#include "base/out_of_memory.hpp"
#include "comm/agree.hpp"
#include "comm/launcher.hpp"
#include "comm/locality.hpp"
#include "comm/session.hpp"
#include "comm/wait_matrix.hpp"
#include "host/node.hpp"
#include "io/hdf5.hpp"

namespace moesaic::apps {
namespace {

const Command* find(std::string_view name) {
  for (const Command& command : commands())
    if (name == command.name) return &command;
  return nullptr;
}

/// A standard stream that the caller has closed would give its number to the next file opened, and messages would go
/// into that. It gets one that cannot be used instead.
void occupy_closed_streams() {
  for (int fd = 0; fd < 3; ++fd)
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) (void)::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/// Several tasks of a Slurm step that each see a world of 1 would do the same work side by side: the launcher does not
/// speak this MPI's language. The job's own script has the variable too: there a rank of its own was meant to be many.
/// (mpirun, which sets OMPI_COMM_WORLD_SIZE, may well start one rank inside a larger job.)
void check_launcher(const comm::Communicator& world) {
  const char* tasks = std::getenv("SLURM_NTASKS");
  if (world.size() == 1 && tasks && std::atoi(tasks) > 1 && !comm::is_started_by_mpirun())
    fail(
        "SLURM_NTASKS is {}, but this process sees an MPI world of 1: start with srun --mpi=pmix, or with srun -n 1 "
        "for one rank",
        tasks);
}

/// Ranks of another build, or started with other commands or options, would wait for each other for ever.
void check_same_start(const comm::Communicator& world, const Command& command,
                      const std::vector<std::string>& arguments) {
  comm::require_same(world, "the build", build());
  comm::require_same(world, "the command line", distinct_command_line(command.name, arguments));
}

/// All ranks throw the same Error; one prints it. world: null for a command without MPI.
int run(const Command& command, const std::vector<std::string>& arguments, const comm::Communicator* world) {
  try {
    if (world) {
      check_launcher(*world);
      check_same_start(*world, command, arguments);
      comm::require_locality(*world);
    }
    const int code = command.run(arguments);
    if (const std::string waits = world ? comm::wait_matrix(*world) : ""; !waits.empty()) spdlog::info("{}", waits);
    finish_results();
    return code;
  } catch (const Error& error) {
    give_up_results();
    if (!world || world->rank() == 0) std::fprintf(stderr, "moesaic %s: error: %s\n", command.name, error.what());
    return kRefused;
  }
}

/// Prints what moesaic says of itself, for --help and --version; the exit code.
int print_to_standard_output(const std::string& text) try {
  put(text);
  return kSuccess;
} catch (const Error& error) {
  std::fprintf(stderr, "moesaic: error: %s\n", error.what());
  return kRefused;
}

bool lacks_threads(const std::exception& caught) {
  const auto* error = dynamic_cast<const std::system_error*>(&caught);
  return error && error->code() == std::errc::resource_unavailable_try_again;
}

/// The system having too little for a run is the user's to mend; anything else is a failure.
ExitCode code_of(const std::exception& caught) {
  return lacks_threads(caught) || dynamic_cast<const std::bad_alloc*>(&caught) ? kRefused : kFailed;
}

std::string reason_of(const std::exception& caught) {
  if (!lacks_threads(caught)) return caught.what();
  return "a thread could not be made; raise what limits them: ulimit -u, ulimit -v, the control group's pids.max";
}

/// A failure of this rank alone, of which the others cannot know.
[[noreturn]] void end_all(const Command& command, const comm::Communicator& world, const std::exception& caught) {
  std::fprintf(stderr, "moesaic %s: error: rank %d on %s: %s\n", command.name, world.rank(),
               comm::hosts()[static_cast<std::size_t>(world.rank())].c_str(), reason_of(caught).c_str());
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, code_of(caught));
  std::_Exit(code_of(caught));
}

/// MPI crashes where its libraries cannot be mapped. Before MPI_Init ranks know of each other only what a launcher
/// says.
void require_room_for_mpi() {
  constexpr std::int64_t kLeast_bytes = std::int64_t{64} << 20;
  const auto limit = tightest_process_limit();
  if (!limit || limit->left_bytes() >= kLeast_bytes) return;
  fail("{} leaves this process {} MiB for MPI's libraries and all the rest; raise the limit ({} unlimited)",
       limit->option, limit->left_bytes() >> 20, limit->option);
}

int run_under_mpi(const Command& command, const std::vector<std::string>& arguments, int argc, char** argv) {
  try {
    require_room_for_mpi();
  } catch (const Error& error) {
    if (comm::is_first_of_node())
      std::fprintf(stderr, "moesaic %s: error: on %s: %s\n", command.name, host::host_name().c_str(), error.what());
    return kRefused;
  }
  io::prepare_hdf5();
  take_wait_timeout(arguments);  // ranks wait for each other already in MPI_Init
  const comm::Session session(argc, argv, {.leave_blocked_calls = true, .end_launcher = true});
  const comm::Communicator world = comm::Communicator::world();
  start_logging(world.rank());
  try {
    return run(command, arguments, &world);
  } catch (const std::exception& caught) {
    end_all(command, world, caught);
  }
}

}  // namespace
}  // namespace moesaic::apps

int main(int argc, char** argv) {
  using namespace moesaic;
  using namespace moesaic::apps;
  flush_denormals();              // before any thread is made
  std::signal(SIGXFSZ, SIG_IGN);  // beyond `ulimit -f` a write shall fail, not end the process
  occupy_closed_streams();
  const std::vector<std::string> arguments(argv + (argc > 1 ? 2 : 1), argv + argc);
  if (argc < 2) return std::fputs(usage().c_str(), stderr), kRefused;
  const std::string name = argv[1];
  if (name == "--help" || name == "-h") return print_to_standard_output(usage());
  if (name == "--version") return print_to_standard_output(build() + "\n");
  const Command* command = find(name);
  if (!command) {
    if (comm::launched_rank().value_or(0) == 0)
      std::fprintf(stderr, "moesaic: error: unknown command '%s'; see moesaic --help\n", argv[1]);
    return kRefused;
  }
  if (command->uses_mpi || asks_for_check(arguments)) return run_under_mpi(*command, arguments, argc, argv);
  start_logging(0);
  try {
    return run(*command, arguments, nullptr);
  } catch (const std::exception& caught) {
    std::fprintf(stderr, "moesaic %s: error: %s\n", command->name, reason_of(caught).c_str());
    return code_of(caught);
  }
}
