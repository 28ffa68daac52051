#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/bench/bench.hpp"
#include "apps/bench/model_test.hpp"
#include "apps/bench/model_work.hpp"
#include "measure/limits.hpp"

namespace moesaic::apps::bench {

/// How a model is measured.
struct ModelBenchOptions {
  ModelOptions model;
  std::int64_t repetitions = 5;  ///< of each test, after one that is left out
  SchedulerOptions scheduler;
  std::int64_t memory_mib = kReadMemory_bytes >> 20;  ///< that each rank reads to measure the bandwidth
  Probe* trace = nullptr;                             ///< sees the first pass of each test
};

/// A model that is ready, and what it is measured against, with one number of threads. All member functions but
/// add_records() are collective.
class ModelBench {
 public:
  ModelBench(const start::Session& session, const ModelBenchOptions& options, const ModelWeights& weights,
             int num_threads);

  /// True if a short prompt and some tokens give the portable path's logits.
  bool as_portable();

  /// The multiply-add peak; what counts is the larger of what is measured now and was before.
  void measure_peak();

  /// Times a test. The first pass, left out, counts the work. The read bandwidth, which changes from one second to the
  /// next on shared machines, is measured before and after each repetition.
  void measure(const ModelTest& test);

  /// True if all results so far had the right hash, and all limits were measured right.
  bool right() const;

  /// Rank 0.
  void add_records(Table& table) const;

 private:
  struct Result {
    ModelTest test;
    Hash128 hash;
    ModelWork work;
    std::vector<double> seconds;    // of each repetition
    std::vector<double> read_gbps;  // beside each repetition
    bool right;
  };
  double read_gbps();
  Record record_of(const Result& result) const;

  const start::Session& session_;
  const comm::Communicator& world_;
  const ModelBenchOptions& options_;
  const ModelWeights& weights_;
  int num_threads_;
  Stage stage_;
  const cpu::PeakLoops& loops_;
  std::optional<ReadMemory> memory_;  // to be read in place of weights that fit into caches
  double peak_gmacs_ = 0;
  bool limits_right_ = true;
  std::vector<Result> results_;
};

}  // namespace moesaic::apps::bench
