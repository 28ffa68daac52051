#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/mpi.hpp"

namespace moesaic::apps {

/// Prints one verdict a check on rank 0, unless it is told not to, and remembers them. Every check is collective.
class SelftestReport {
 public:
  enum class Print : bool { kNo, kYes };
  SelftestReport(const comm::Communicator& world, Print print) : world_(world), print_(print) {}

  /// `problem` of any rank makes it FAIL; `facts` are rank 0's.
  void check(const std::string& what, const std::optional<std::string>& problem, const std::string& facts = "");
  /// A line that is no verdict.
  void note(const std::string& line) const;

  int num_checks() const { return num_checks_; }
  /// "what: problem", the same on all ranks.
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  const comm::Communicator& world_;
  Print print_;
  int num_checks_ = 0;
  std::vector<std::string> failures_;
};

/// A file that comes with the build or the installation: demo.h5, and the goldens' tokens and hashes to run it with.
std::string shared_file(const std::string& name);

/// Collective: messages arrive as they were sent, and a store's logits are the same by every instruction path and in
/// several layouts; of the demo model, as committed. store: empty for the demo model. Error: it cannot be read.
void selftest(const comm::Communicator& world, std::string store, SelftestReport& report);

}  // namespace moesaic::apps
