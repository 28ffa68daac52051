#pragma once

#include <mpi.h>

#include <optional>
#include <vector>

#include "comm/report.hpp"

namespace moesaic::comm {

/// True when another rank has sent its report over `comm`, which means that its deadline has passed. Costs a poll.
bool report_has_come(MPI_Comm comm);

/// Sends this rank's report to others and collects theirs, over a communicator that is for reports alone. Errors of MPI
/// are ignored: some peer is dead or cut off.
class ReportExchange {
 public:
  ReportExchange(MPI_Comm comm, int num_ranks, const Report& own);

  /// Takes what comes in the next `seconds`, or, unless `to_the_end`, until all have been heard.
  void collect(double seconds, bool to_the_end);
  /// The lowest rank that has been heard; this rank has heard itself.
  int lowest() const;
  /// The report of each rank, indexed by world rank; nothing of ranks that have not been heard.
  const std::vector<std::optional<Report>>& reports() const { return reports_; }

 private:
  bool all_heard() const;
  bool take_one();

  const MPI_Comm comm_;
  const Report own_;
  std::vector<std::optional<Report>> reports_;
  std::vector<MPI_Request> sends_;
};

}  // namespace moesaic::comm
