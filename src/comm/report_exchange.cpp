#include "comm/report_exchange.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace moesaic::comm {
namespace {

constexpr int kReportTag = 1;

}  // namespace

bool report_has_come(MPI_Comm comm) {
  int found = 0;
  return MPI_Iprobe(MPI_ANY_SOURCE, kReportTag, comm, &found, MPI_STATUS_IGNORE) == MPI_SUCCESS && found;
}

ReportExchange::ReportExchange(MPI_Comm comm, int num_ranks, const Report& own)
    : comm_(comm), own_(own), reports_(static_cast<std::size_t>(num_ranks)) {
  reports_[static_cast<std::size_t>(own.rank)] = own;
  // In a large job only the lowest ranks hear of all others, and all others hear of them.
  constexpr int kLow = 16;
  for (int to = 0; to < num_ranks; ++to)
    if (to != own.rank && (own.rank < kLow || to < kLow))
      MPI_Isend(&own_, sizeof own_, MPI_BYTE, to, kReportTag, comm_, &sends_.emplace_back());
}

void ReportExchange::collect(double seconds, bool to_the_end) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (Clock::now() < end && (to_the_end || !all_heard()))
    if (!take_one()) ::usleep(1000);
}

int ReportExchange::lowest() const {
  const auto heard = [](const std::optional<Report>& report) { return report.has_value(); };
  return static_cast<int>(std::ranges::find_if(reports_, heard) - reports_.begin());
}

bool ReportExchange::all_heard() const {
  return std::ranges::all_of(reports_, [](const std::optional<Report>& report) { return report.has_value(); });
}

bool ReportExchange::take_one() {
  int found = 0, size_bytes = 0;
  MPI_Status status;
  if (MPI_Iprobe(MPI_ANY_SOURCE, kReportTag, comm_, &found, &status) != MPI_SUCCESS || !found) return false;
  MPI_Get_count(&status, MPI_BYTE, &size_bytes);
  std::vector<std::byte> bytes(std::max(sizeof(Report), static_cast<std::size_t>(size_bytes)));
  if (MPI_Recv(bytes.data(), size_bytes, MPI_BYTE, status.MPI_SOURCE, kReportTag, comm_, MPI_STATUS_IGNORE) !=
      MPI_SUCCESS)
    return false;
  std::memcpy(&reports_[static_cast<std::size_t>(status.MPI_SOURCE)].emplace(), bytes.data(), sizeof(Report));
  return true;
}

}  // namespace moesaic::comm
