#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/event.hpp"

namespace moesaic::batch {

/// Times in buckets that grow by 1 %, so in the same memory however many there are.
class Distribution {
 public:
  void add(double seconds);
  std::int64_t count() const { return count_; }
  double mean() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0; }
  /// Within 1 %, seconds; fraction: 0.5 is the median.
  double quantile(double fraction) const;

 private:
  std::vector<std::int64_t> buckets_;
  std::int64_t count_ = 0;
  double sum_ = 0;
};

/// Latencies of the sequences of a run, from when a sequence was taken up: to its first token (ttft), between two
/// tokens (itl) and in the mean of a sequence (tpot), to its end (e2el).
class Latencies {
 public:
  void add(const Continuation& result);
  /// mean, median and p99 in ms, a line each.
  std::string table() const;
  nlohmann::json json() const;

 private:
  struct Named {
    const char *name, *meaning;
    Distribution times;
  };
  Named ttft_{"ttft", "to the first token", {}}, tpot_{"tpot", "a token after the first, mean of a sequence", {}},
      itl_{"itl", "between two tokens", {}}, e2el_{"e2el", "whole sequence", {}};
};

}  // namespace moesaic::batch
