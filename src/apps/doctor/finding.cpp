#include "apps/doctor/finding.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "host/placement.hpp"

namespace moesaic::apps::doctor {

std::string text_of(const Finding& finding) {
  constexpr const char* kWords[] = {"ok", "warning", "FAILED"};
  std::string line =
      fmt::format("{:<8} {:<12} {}", kWords[static_cast<int>(finding.status)], finding.what, finding.text);
  if (!finding.remedy.empty()) line += fmt::format("\n{:21} -> {}", "", finding.remedy);
  return line;
}

std::string summary(const Findings& findings) {
  const auto count = [&](Status status) {
    return std::count_if(findings.begin(), findings.end(), [=](const Finding& f) { return f.status == status; });
  };
  const auto warnings = count(Status::kWarning);
  return fmt::format("{} FAILED, {} warning{}, {} ok", count(Status::kFailed), warnings, warnings == 1 ? "" : "s",
                     count(Status::kOk));
}

std::string said_by(const std::vector<int>& ranks, std::size_t num_ranks, const std::string& text) {
  if (ranks.size() == num_ranks) return text;
  return fmt::format("rank{} {}: {}", ranks.size() == 1 ? "" : "s", host::ranges(ranks), text);
}

}  // namespace moesaic::apps::doctor
