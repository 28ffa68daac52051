#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moesaic::apps::doctor {

/// kFailed: a job would end in an error, hang or be wrong; kWarning: it may be slow, or fail under load.
enum class Status : std::uint8_t { kOk, kWarning, kFailed };

/// One line of the doctor's table.
struct Finding {
  Status status = Status::kOk;
  std::string what;    ///< "binding"
  std::string text;    ///< what was found
  std::string remedy;  ///< what to do about it; of what is not ok
};
using Findings = std::vector<Finding>;

/// "FAILED   files        n1 does not see ...", with the remedy in a line of its own.
std::string text_of(const Finding& finding);

/// Of each status how many, in words: "1 FAILED, 2 warnings, 9 ok".
std::string summary(const Findings& findings);

/// Text that some of `num_ranks` ranks have said: "rank 3: ...", "ranks 0-3: ...", and without names when all did.
std::string said_by(const std::vector<int>& ranks, std::size_t num_ranks, const std::string& text);

/// The texts with a separator between them.
template <class Texts>
std::string joined(const Texts& texts, const char* separator) {
  std::string all;
  for (const std::string& text : texts) {
    if (&text != &*texts.begin()) all += separator;
    all += text;
  }
  return all;
}

}  // namespace moesaic::apps::doctor
