#include "comm/wait_matrix.hpp"

#include "comm/share.hpp"
#include "comm/wait.hpp"

namespace moesaic::comm {

std::string wait_matrix(const Communicator& world) {
  const std::vector<double>& own = counted_waits_s();
  if (own.empty()) return "";
  const auto rows = gather_lists(world, own);
  if (world.rank() != 0) return "";
  std::string text = "seconds waited, by the rank that waited\n| rank |", rule = "|---:|";
  for (int rank = 0; rank < world.size(); ++rank) text += fmt::format(" for {} |", rank), rule += "---:|";
  text += " for all | sum |\n" + rule + "---:|---:|\n";
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    text += fmt::format("| {} on {} |", rank, hosts()[rank]);
    double sum = 0;
    for (const double seconds : rows[rank]) text += fmt::format(" {:.3f} |", seconds), sum += seconds;
    text += fmt::format(" {:.3f} |\n", sum);
  }
  return text;
}

}  // namespace moesaic::comm
