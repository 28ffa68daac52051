#include "apps/results.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "apps/options.hpp"
#include "base/counted.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "comm/launcher.hpp"
#include "io/temporary_file.hpp"

namespace moesaic::apps {
namespace {

/// Where the results of this process go; one object, as there is one standard output.
struct Results {
  const char* option = "output";
  std::string path;  ///< of the file; empty: standard output
  bool is_open = false;
  std::optional<io::TemporaryFile> file;
  std::string kept;   ///< to be written
  std::string error;  ///< what kept show() from writing; empty: nothing
  std::int64_t num_lines = 0;
};
Results g_results;

[[noreturn]] void fail_to_write() { fail("standard output cannot be written: {}", std::strerror(errno)); }

/// Whoever shares a terminal or a pipe may have made it non-blocking: then it is waited for.
void write_to_standard_output(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd ready{STDOUT_FILENO, POLLOUT, 0};
      (void)::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      fail_to_write();
    }
  }
}

void write_kept() {
  const std::string text = std::exchange(g_results.kept, "");
  if (g_results.file)
    g_results.file->append(text);
  else
    write_to_standard_output(text);
  g_results.num_lines += std::ranges::count(text, '\n');
}

/// Whether a user sees standard output come, and needs no count of its lines. (mpirun gives its ranks terminals too.)
bool is_watched() { return !comm::is_started_by_launcher() && ::isatty(STDOUT_FILENO) == 1; }

}  // namespace

po::options_description result_options(OutputOption output) {
  const bool is_free = output == OutputOption::kFree;
  g_results.option = is_free ? "output" : "output-file";
  po::options_description options("results");
  options.add_options()(is_free ? "output,output-file,o" : "output-file", po::value(&g_results.path),
                        "file for the results; it gets its name, replacing what has it, when they are complete. "
                        "Default: standard output, of which mpirun and srun may lose the end on a full disk without an "
                        "error");
  return options;
}

void open_results(std::initializer_list<std::string> others) {
  check_writable(g_results.path, g_results.option, others);
  if (!g_results.path.empty()) g_results.file.emplace(g_results.path);
  g_results.is_open = true;
}

void print(std::string_view text) { g_results.kept += text; }

void put(std::string_view text) {
  print(text);
  write_kept();
}

void show(std::string_view text) {
  print(text);
  if (!g_results.error.empty()) return;
  try {
    write_kept();
  } catch (const Error& error) {
    g_results.error = error.what();
  }
}

void give_up_results() {
  if (g_results.file || !g_results.is_open) return;
  try {
    write_kept();
  } catch (const Error&) {  // there is an error to tell already
  }
}

void finish_results() {
  if (!g_results.error.empty()) throw Error(g_results.error);
  write_kept();
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) fail_to_write();  // help is written there by others
  if (!std::exchange(g_results.is_open, false)) return;
  const std::string lines = counted(g_results.num_lines, "line") + " of results";
  if (g_results.file) {
    g_results.file->publish();
    spdlog::info("{} in {}", lines, g_results.path);
  } else if (!is_watched()) {
    spdlog::info("{} on standard output", lines);
  }
}

}  // namespace moesaic::apps
