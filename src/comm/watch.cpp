#include "comm/watch.hpp"

#include <pthread.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "comm/diagnosis.hpp"
#include "comm/mpi_settings.hpp"
#include "comm/report.hpp"
#include "comm/transport.hpp"

namespace moesaic::comm {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kExitCode = 1;
constexpr int kReportTag = 1;
// From a deadline that passes to the end. What a rank prints comes first, so that it is there whatever happens then.
constexpr double kCollect_s = 3;     ///< reports of other ranks
constexpr double kTeller_s = 4;      ///< after that, for the lowest rank to print and to end the job
constexpr unsigned kAbort_s = 3;     ///< MPI_Abort
constexpr unsigned kLauncher_s = 2;  ///< for the launcher, before each of three signals
constexpr unsigned kWhole_s = 12;    ///< all of it, should a call into MPI never return
constexpr unsigned kBlocking_s = 5;  ///< between the report and the end of a call that blocks
constexpr double kLate_s = 1;        ///< an alarm that comes later was held up: this process itself was stopped

/// Plain data: signal handlers read it, on the main thread alone.
struct State {
  pthread_t main_thread{};
  int rank = -1, size = 0;
  std::array<char, 64> host{}, last_wait{};
  std::array<char, 256> transport{};
  const Wait* wait = nullptr;
  const double* waited_s = nullptr;
  const char* blocking_call = nullptr;
  sigjmp_buf* way_out = nullptr;  // of that call, when it has one
  Clock::time_point blocking_since;
  volatile std::sig_atomic_t alarms = 0;
  bool diagnosing = false;
};

State g_state;
MPI_Comm g_comm = MPI_COMM_NULL;  // for reports alone
std::vector<std::string> g_hosts;

Report own_report() {
  Report report;
  report.rank = g_state.rank;
  report.host = g_state.host;
  report.last_wait = g_state.last_wait;
  report.step = position().step;
  report.layer = position().layer;
  report.zone = position().zone;
  report.completed = position().completed;
  report.timeout_s = wait_timeout_s();
  if (g_state.blocking_call) {
    report.waits = report.for_any = true;
    report.waited_s = Seconds(Clock::now() - g_state.blocking_since).count();
    put_text(report.operation, g_state.blocking_call);
  } else if (const Wait* wait = g_state.wait) {
    report.waits = true;
    report.for_any = !wait->peers;
    report.waited_s = *g_state.waited_s;
    report.num_awaited = wait->num_awaited;
    put_text(report.operation, wait->operation);
    for (const int peer : wait->peers ? *wait->peers : wait->comm.world_ranks()) {
      if (peer == report.rank) continue;
      if (report.num_peers < Report::kMostPeers) report.peers[static_cast<std::size_t>(report.num_peers)] = peer;
      ++report.num_peers;
    }
  }
  return report;
}

void print_report(const Report& report, const char* more = "") {
  Line line;
  line.add("moesaic: ");
  report.describe(line);
  line.add("; transport: ").add(g_state.transport.data()).add(more).print();
}

void on_usr2(int signal) {
  const int error = errno;
  if (!pthread_equal(pthread_self(), g_state.main_thread))
    pthread_kill(g_state.main_thread, signal);  // the state is the main thread's
  else
    print_report(own_report());
  errno = error;
}

void on_alarm(int signal) {
  if (!pthread_equal(pthread_self(), g_state.main_thread)) {
    pthread_kill(g_state.main_thread, signal);
    return;
  }
  if (const double timeout_s = wait_timeout_s();
      !g_state.alarms && Seconds(Clock::now() - g_state.blocking_since).count() > timeout_s + kLate_s) {
    g_state.blocking_since = Clock::now();  // the deadline begins anew
    ::alarm(static_cast<unsigned>(timeout_s));
    return;
  }
  if (g_state.way_out) siglongjmp(*g_state.way_out, 1);
  if (g_state.alarms) _exit(kExitCode);
  g_state.alarms = 1;
  print_report(own_report(), "; the job ends in 5 s if this goes on; the likely culprit is the rank that prints nothing");
  ::alarm(kBlocking_s);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

/// From here on SIGALRM ends this process, `seconds` from now.
void end_after(unsigned seconds) {
  std::signal(SIGALRM, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::alarm(seconds);
}

/// mpirun may wait for ever for the daemon of a node that has gone, and ignores the first signals meanwhile: a process
/// of its own, which mpirun does not know, ends it where this rank is its child. Slurm's steps end by themselves.
void end_launcher_later() {
  const pid_t launcher = ::getppid();
  char name[16] = {};
  if (std::FILE* file = std::fopen(fmt::format("/proc/{}/comm", launcher).c_str(), "r")) {
    if (!std::fgets(name, sizeof name, file)) name[0] = 0;
    std::fclose(file);
  }
  if (std::strcmp(name, "mpirun\n") != 0 && std::strcmp(name, "orterun\n") != 0) return;
  if (::fork() != 0) return;
  ::setsid();
  for (int stream = 0; stream < 3; ++stream) ::close(stream);  // nobody shall wait for their ends
  for (const int signal : {SIGTERM, SIGTERM, SIGKILL}) {
    ::sleep(kLauncher_s);
    if (::kill(launcher, signal) != 0) break;  // it has ended
  }
  _exit(0);
}

[[noreturn]] void end_now() {
  end_after(kAbort_s);
  std::fflush(nullptr);
  end_launcher_later();
  MPI_Abort(MPI_COMM_WORLD, kExitCode);
  _exit(kExitCode);
}

/// Reports of this rank to others, and theirs. Errors are ignored: some peer is dead or cut off.
class Exchange {
 public:
  explicit Exchange(const Report& own) : own_(own), reports_(static_cast<std::size_t>(g_state.size)) {
    reports_[static_cast<std::size_t>(own.rank)] = own;
    // In a large job only the lowest ranks hear of all others, and all others hear of them.
    constexpr int kLow = 16;
    for (int to = 0; to < g_state.size; ++to)
      if (to != own.rank && (own.rank < kLow || to < kLow))
        MPI_Isend(&own_, sizeof own_, MPI_BYTE, to, kReportTag, g_comm, &sends_.emplace_back());
  }
  /// Takes what comes in the next `seconds`, or, unless `to_the_end`, until all have been heard.
  void collect(double seconds, bool to_the_end) {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
    while (Clock::now() < end && (to_the_end || !all_heard()))
      if (!take_one()) ::usleep(1000);
  }
  int lowest() const {
    return static_cast<int>(
        std::find_if(reports_.begin(), reports_.end(), [](const auto& report) { return report.has_value(); }) -
        reports_.begin());
  }
  const std::vector<std::optional<Report>>& reports() const { return reports_; }

 private:
  bool all_heard() const {
    return std::all_of(reports_.begin(), reports_.end(), [](const auto& report) { return report.has_value(); });
  }
  bool take_one() {
    int found = 0, size_bytes = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, kReportTag, g_comm, &found, &status) != MPI_SUCCESS || !found) return false;
    MPI_Get_count(&status, MPI_BYTE, &size_bytes);
    std::vector<std::byte> bytes(std::max(sizeof(Report), static_cast<std::size_t>(size_bytes)));
    if (MPI_Recv(bytes.data(), size_bytes, MPI_BYTE, status.MPI_SOURCE, kReportTag, g_comm, MPI_STATUS_IGNORE) !=
        MPI_SUCCESS)
      return false;
    std::memcpy(&reports_[static_cast<std::size_t>(status.MPI_SOURCE)].emplace(), bytes.data(), sizeof(Report));
    return true;
  }

  Report own_;
  std::vector<std::optional<Report>> reports_;  // by rank
  std::vector<MPI_Request> sends_;
};

}  // namespace

void start_watch() {
  g_state.main_thread = pthread_self();
  gethostname(g_state.host.data(), g_state.host.size() - 1);
  g_hosts = {g_state.host.data()};
  put_text(g_state.transport, "none yet");
  // Only for what is printed before MPI can tell.
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"})
    if (const char* text = std::getenv(name); text && g_state.rank < 0) g_state.rank = std::atoi(text);
  handle(SIGUSR2, on_usr2);
  if (const std::string doubt = doubtful_transport(); !doubt.empty() && is_first_of_node())
    fmt::print(stderr, "moesaic: on {}: {}\n", g_state.host.data(), doubt);
}

void join_watch() {
  {
    const BlockingCall call("MPI_Comm_dup");
    MOESAIC_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &g_comm));
  }
  MOESAIC_MPI(MPI_Comm_set_errhandler(g_comm, MPI_ERRORS_RETURN));
  const auto world = Communicator::world();
  g_state.rank = world.rank();
  g_state.size = world.size();
  put_text(g_state.transport, transport());
  constexpr int kHostBytes = sizeof g_state.host;
  std::vector<char> all(static_cast<std::size_t>(world.size() * kHostBytes));
  MPI_Request request = MPI_REQUEST_NULL;
  MOESAIC_MPI(MPI_Iallgather(g_state.host.data(), kHostBytes, MPI_BYTE, all.data(), kHostBytes, MPI_BYTE,
                             world.handle(), &request));
  wait_for(request, {"names of hosts", nullptr, world});
  g_hosts.clear();
  for (int rank = 0; rank < world.size(); ++rank) g_hosts.emplace_back(all.data() + rank * kHostBytes);
}

void leave_watch() {
  if (g_comm != MPI_COMM_NULL) MPI_Comm_free(&g_comm);
}

void set_waiting(const Wait* wait, const double* waited_s) {
  if (g_state.wait && !wait) put_text(g_state.last_wait, g_state.wait->operation);
  g_state.waited_s = waited_s;
  g_state.wait = wait;
}

bool somebody_asks() {
  int found = 0;
  if (g_comm == MPI_COMM_NULL) return false;
  return MPI_Iprobe(MPI_ANY_SOURCE, kReportTag, g_comm, &found, MPI_STATUS_IGNORE) == MPI_SUCCESS && found;
}

void diagnose(const std::string& error) {
  if (g_state.diagnosing) end_now();
  g_state.diagnosing = true;
  end_after(kWhole_s);
  Report own = own_report();
  put_text(own.error, error);
  print_report(own);
  if (g_comm == MPI_COMM_NULL || g_state.size < 2) end_now();
  Exchange exchange(own);
  exchange.collect(kCollect_s, false);
  if (exchange.lowest() == own.rank) {
    const std::string text = diagnosis(exchange.reports(), g_hosts, own.rank, g_state.transport.data());
    (void)!::write(STDERR_FILENO, text.data(), text.size());
    ::usleep(200000);  // the launcher passes it on
  } else {
    exchange.collect(kTeller_s, true);
  }
  end_now();
}

BlockingCall::BlockingCall(const char* name, sigjmp_buf* way_out) {
  g_state.blocking_since = Clock::now();
  g_state.alarms = 0;
  g_state.blocking_call = name;
  g_state.way_out = way_out;
  handle(SIGALRM, on_alarm);
  const double timeout_s = wait_timeout_s();
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(timeout_s);
  timer.it_value.tv_usec = 1;  // both 0 would stop the timer
  setitimer(ITIMER_REAL, &timer, nullptr);
}

BlockingCall::~BlockingCall() {
  ::alarm(0);
  g_state.blocking_call = nullptr;
  g_state.way_out = nullptr;
}

const std::vector<std::string>& hosts() { return g_hosts; }

}  // namespace moesaic::comm
