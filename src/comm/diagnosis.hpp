#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/report.hpp"

/// Tells from the reports of the ranks who holds up whom. Pure: it knows no MPI.
namespace moesaic::comm {

/// The ranks that the others most likely wait for, and why.
struct Culprits {
  std::vector<int> ranks;  ///< empty: none stands out
  std::string reason;
};

/// reports: indexed by world rank; nothing of ranks that do not answer.
Culprits culprits(const std::vector<std::optional<Report>>& reports);

/// Several lines for people: what each rank does, who does not answer, the likely culprit and the remedy.
/// hosts: names of the nodes, indexed by world rank.
std::string diagnosis(const std::vector<std::optional<Report>>& reports, const std::vector<std::string>& hosts,
                      int told_by, const std::string& transport);

}  // namespace moesaic::comm
