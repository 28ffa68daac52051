#include <algorithm>
#include <chrono>
#include <filesystem>

#include "apps/command.hpp"
#include "apps/doctor/folder.hpp"
#include "apps/doctor/peers.hpp"
#include "apps/doctor/settings.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "apps/selftest.hpp"
#include "comm/agree.hpp"
#include "comm/wait.hpp"
#include "comm/watch.hpp"

namespace moesaic::apps {
namespace {

using doctor::Finding;
using doctor::Findings;
using doctor::Status;

/// Prints findings on rank 0 as they come, and keeps them.
class Table {
 public:
  explicit Table(const comm::Communicator& world) : world_(world) {}

  void add(const Findings& findings) {
    for (const Finding& finding : findings) {
      print(text_of(finding));
      findings_.push_back(finding);
    }
  }
  void print(const std::string& line) const {
    if (world_.rank() != 0 || line.empty()) return;
    show(line + "\n");
  }
  /// Collective.
  bool any_failed() const {
    bool failed = false;
    for (const Finding& finding : findings_) failed |= finding.status == Status::kFailed;
    return world_.max(failed) > 0;
  }
  const Findings& findings() const { return findings_; }

 private:
  const comm::Communicator& world_;
  Findings findings_;
};

/// Collective: the arithmetic of this job's ranks, with the demo model.
Finding check_arithmetic(const comm::Communicator& world) {
  bool there = false;
  comm::together(world, [&] { there = std::filesystem::exists(shared_file("demo.h5")); });
  if (world.min(there) == 0)
    return {Status::kWarning, "arithmetic", "not checked: no " + shared_file("demo.h5"),
            "it comes with the build and the installation; is the folder of the binary on all nodes?"};
  SelftestReport report(world, SelftestReport::Print::kNo);
  selftest(world, "", report);
  if (report.failures().empty())
    return {Status::kOk, "arithmetic",
            fmt::format("{} checks: messages, and the logits of the demo model by all paths and in several layouts",
                        report.num_checks()),
            ""};
  return {
      Status::kFailed, "arithmetic",
      fmt::format("{} of {} checks, first: {}", report.failures().size(), report.num_checks(), report.failures()[0]),
      "moesaic selftest shows all of them; a node whose results differ is broken: leave it out"};
}

}  // namespace

int run_doctor(const std::vector<std::string>& arguments) {
  std::string folder;
  int num_threads = 0;
  bool no_arithmetic = false;
  std::vector<std::string> setting_texts;
  po::options_description options("doctor");
  // clang-format off
  options.add_options()
      ("path", po::value(&folder)->default_value("."), "a folder that jobs read and write: its file system is checked")
      ("threads", ranged(&num_threads, "threads", 0, 4096)->default_value(0), "threads of each rank; 0: chosen")
      ("no-arithmetic", po::bool_switch(&no_arithmetic), "leaves out what moesaic selftest does")
      ("setting", po::value(&setting_texts)->value_name("NAME=VALUE"),
       "a variable that all ranks must have in their environment, again and again; slurm/doctor.sbatch gives those of its "
       "script");
  // clang-format on
  constexpr double kPatience_s = 30;
  comm::set_wait_timeouts({kPatience_s, kPatience_s});
  options.add(wait_options("30")).add(result_options());
  const auto map = parse("doctor", arguments, options);
  if (map.contains("help")) return kSuccess;
  const std::vector<doctor::Setting> settings = doctor::settings_from(setting_texts);

  const auto start = std::chrono::steady_clock::now();
  const comm::Communicator world = comm::Communicator::world(), node = world.split_node();
  comm::on_root(world, [] { open_results({}); });
  Table table(world);
  const std::vector<doctor::RankFacts> facts = doctor::gather_facts(world, node, num_threads);
  if (world.rank() == 0) table.add(doctor::judge(facts));
  table.add(doctor::check_settings(world, settings));
  table.add(doctor::check_folder(world, node, folder));
  const auto clocks = doctor::measure_clocks(world, node);
  if (world.rank() == 0) table.add({doctor::judge_clocks(clocks)});
  const auto peers = doctor::measure_peers(world, node);
  const bool crowded =
      std::any_of(facts.begin(), facts.end(), [](const auto& rank) { return !rank.thread_warnings.empty(); });
  if (world.rank() == 0) table.add(doctor::judge_peers(peers, comm::hosts(), facts.front().transport, crowded));
  table.print(doctor::peer_matrix(peers, comm::hosts()));
  if (!no_arithmetic) {
    const Finding arithmetic = check_arithmetic(world);
    if (world.rank() == 0) table.add({arithmetic});
  }

  const bool failed = table.any_failed();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  table.print(fmt::format("doctor: {}, in {:.1f} s", summary(table.findings()), seconds));
  return failed ? kFailed : kSuccess;
}

}  // namespace moesaic::apps
