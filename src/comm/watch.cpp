#include "comm/watch.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "comm/diagnosis.hpp"
#include "comm/end_job.hpp"
#include "comm/launcher.hpp"
#include "comm/report.hpp"
#include "comm/report_exchange.hpp"
#include "comm/transport.hpp"
#include "comm/wait_timeouts.hpp"

namespace moesaic::comm {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// From a deadline that passes to the end. What a rank prints comes first, so that it is there whatever happens then.
constexpr double kCollect_s = 3;     ///< reports of other ranks
constexpr double kTeller_s = 4;      ///< after that, for the lowest rank to print and to end the job
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
  LastResorts last_resorts;
  MPI_Comm comm = MPI_COMM_NULL;  // for reports alone
};

State g_state;
std::vector<std::string> g_hosts;  // by world rank

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
    for (const int peer : wait->peers ? *wait->peers : wait->members) {
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
  if (g_state.alarms) _exit(kJobFailed);
  g_state.alarms = 1;
  print_report(own_report(),
               "; the job ends in 5 s if this goes on; the likely culprit is the rank that prints nothing");
  ::alarm(kBlocking_s);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void start_watch(LastResorts last_resorts) {
  g_state.main_thread = pthread_self();
  g_state.last_resorts = last_resorts;
  gethostname(g_state.host.data(), g_state.host.size() - 1);
  g_hosts = {g_state.host.data()};
  put_text(g_state.transport, "none yet");
  // Only for what is printed before MPI can tell.
  if (const auto rank = launched_rank(); rank && g_state.rank < 0) g_state.rank = *rank;
  handle(SIGUSR2, on_usr2);
  if (const std::string doubt = doubtful_transport(); !doubt.empty() && is_first_of_node())
    fmt::print(stderr, "moesaic: on {}: {}\n", g_state.host.data(), doubt);
}

void join_watch(MPI_Comm reports) {
  MPI_Comm_rank(reports, &g_state.rank);
  MPI_Comm_size(reports, &g_state.size);
  put_text(g_state.transport, transport());
  g_state.comm = reports;
}

void name_hosts(std::vector<std::string> hosts) { g_hosts = std::move(hosts); }

void leave_watch() {
  if (g_state.comm != MPI_COMM_NULL) MPI_Comm_free(&g_state.comm);
}

void set_waiting(const Wait* wait, const double* waited_s) {
  if (g_state.wait && !wait) put_text(g_state.last_wait, g_state.wait->operation);
  g_state.waited_s = waited_s;
  g_state.wait = wait;
}

bool somebody_asks() { return g_state.comm != MPI_COMM_NULL && report_has_come(g_state.comm); }

void diagnose(const std::string& error) {
  if (g_state.diagnosing) end_job(g_state.last_resorts.end_launcher);
  g_state.diagnosing = true;
  end_after(kWhole_s);
  Report own = own_report();
  put_text(own.error, error);
  print_report(own);
  if (g_state.comm == MPI_COMM_NULL || g_state.size < 2) end_job(g_state.last_resorts.end_launcher);
  ReportExchange exchange(g_state.comm, g_state.size, own);
  exchange.collect(kCollect_s, false);
  if (exchange.lowest() == own.rank) {
    const std::string text = diagnosis(exchange.reports(), g_hosts, own.rank, g_state.transport.data());
    (void)!::write(STDERR_FILENO, text.data(), text.size());
    ::usleep(200000);  // the launcher passes it on
  } else {
    exchange.collect(kTeller_s, true);
  }
  end_job(g_state.last_resorts.end_launcher);
}

BlockingCall::BlockingCall(const char* name, sigjmp_buf* way_out) {
  g_state.blocking_since = Clock::now();
  g_state.alarms = 0;
  g_state.blocking_call = name;
  g_state.way_out = g_state.last_resorts.leave_blocked_calls ? way_out : nullptr;
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
