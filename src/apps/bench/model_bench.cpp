#include "apps/bench/model_bench.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/log.hpp"
#include "engine/capture.hpp"

namespace moesaic::apps::bench {
namespace {

constexpr int kReadRounds = 1;  ///< a tenth of a second

/// The same weights by reference: a stage of another instruction path costs no second copy.
ModelWeights shared_with(const ModelWeights& weights) {
  return {weights.layers, weights.embedding, weights.final_norm, {}};
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace

ModelBench::ModelBench(const start::Session& session, const ModelBenchOptions& options, const ModelWeights& weights,
                       int num_threads)
    : session_(session),
      world_(session.world()),
      options_(options),
      weights_(weights),
      num_threads_(num_threads),
      stage_(world_, session.grid(), session.backend(), shared_with(weights_), session.dispatch()),
      loops_(cpu::peak_loops(cpu::isa_from_option(session.backend()->name()))) {
  const double least_owned = world_.min(static_cast<double>(weights_.memory.size_bytes()));
  if (least_owned * world_.size() < static_cast<double>(kReadMemory_bytes))
    memory_.emplace(options_.memory_mib << 20, num_threads_);
}

bool ModelBench::as_portable() {
  if (session_.backend()->name() == "portable") return true;
  constexpr double kMultiplyAdds = 20e9;  // seconds of the portable path
  constexpr std::int64_t kLeastTokens = 3, kMostTokens = 40, kGenerated = 2;
  const ModelConfig& c = session_.config();
  const double a_token = static_cast<double>(c.num_layers * 3 * c.num_selected_experts * c.emb_size * c.ffn_size);
  const auto affordable = static_cast<std::int64_t>(std::min(kMultiplyAdds / a_token, 1e6));
  const ModelTest test{1, std::min(std::clamp(affordable, kLeastTokens, kMostTokens), c.sequence_len - kGenerated),
                       kGenerated};
  Stage portable(world_, session_.grid(), backend::open({"cpu", "portable"}, session_.backend()->numerics()),
                 shared_with(weights_), session_.dispatch());
  const Hash128 expected = run_test(world_, portable, test, options_.scheduler).hash;
  const Hash128 found = run_test(world_, stage_, test, options_.scheduler).hash;
  if (found != expected)
    spdlog::error("{}: logits hash {}, the portable path's is {}", test.name(), found.hex(), expected.hex());
  return found == expected;
}

void ModelBench::measure_peak() {
  const Limit peak = multiply_add_peak(world_, loops_, factors_of(session_.backend()->numerics()), num_threads_);
  limits_right_ &= peak.right;
  peak_gmacs_ = std::max(peak_gmacs_, peak.rate.median);
}

/// Bandwidth at which the rank reads the memory that its weights lie in.
double ModelBench::read_gbps() {
  const std::span<const std::byte> own(weights_.memory.host(), weights_.memory.size_bytes());
  const Limit read = memory_
                         ? read_bandwidth(world_, loops_, memory_->bytes(), num_threads_, memory_->sum(), kReadRounds)
                         : read_bandwidth(world_, loops_, own, num_threads_, std::nullopt, kReadRounds);
  limits_right_ &= read.right;
  return read.rate.median;
}

void ModelBench::measure(const ModelTest& test) {
  Result result{test, {}, {}, {}, {}, true};
  WorkCounter counter(session_.grid(), plan::WorldRank{world_.rank()}, session_.backend()->packer());
  Probes probes;
  probes.add(&counter);
  if (options_.trace) probes.add(options_.trace);
  stage_.watch(&probes);
  result.hash = run_test(world_, stage_, test, options_.scheduler).hash;
  stage_.watch(nullptr);
  result.work = counter.work(world_, weights_);
  double before_gbps = read_gbps();
  for (std::int64_t r = 0; r < options_.repetitions; ++r) {
    const ModelPass repetition = run_test(world_, stage_, test, options_.scheduler);
    const double after_gbps = read_gbps();
    result.seconds.push_back(repetition.seconds);
    result.read_gbps.push_back((std::exchange(before_gbps, after_gbps) + after_gbps) / 2);
    if (repetition.hash == result.hash) continue;
    result.right = false;
    spdlog::error("{}: logits hash {} in repetition {}, {} before", test.name(), repetition.hash.hex(), r + 1,
                  result.hash.hex());
  }
  spdlog::info("{}, {} sequence{}: done", test.name(), test.num_sequences, test.num_sequences == 1 ? "" : "s");
  results_.push_back(std::move(result));
}

bool ModelBench::right() const {
  return limits_right_ &&
         std::all_of(results_.begin(), results_.end(), [](const Result& result) { return result.right; });
}

void ModelBench::add_records(Table& table) const {
  for (const Result& result : results_) table.add(record_of(result));
}

Record ModelBench::record_of(const Result& result) const {
  const auto& [test, hash, work, seconds, read_gbps, right] = result;
  std::vector<double> rates, times_ns, shares;
  for (std::size_t r = 0; r < seconds.size(); ++r) {
    rates.push_back(static_cast<double>(test.num_tokens()) / seconds[r]);
    times_ns.push_back(seconds[r] * 1e9);
    shares.push_back(work.least_seconds(peak_gmacs_, read_gbps[r]) / seconds[r]);
  }
  const Statistics ts = statistics(rates), ns = statistics(times_ns);
  const double mean_s = ns.mean / 1e9, share = statistics(shares).mean;
  return {{"model_filename", options_.model.store},
          {"model_size", session_.reader().index().weight_bytes()},
          {"test", test.name()},
          {"n_prompt", test.num_prompt},
          {"n_gen", test.num_generated},
          {"n_depth", 0},
          {"batch", test.num_sequences},
          {"n_threads", num_threads_},
          {"layout", session_.layout().text()},
          {"numerics", session_.numeric().text()},
          {"prefill_chunk", options_.scheduler.prefill_chunk},
          {"two_batch_overlap", options_.scheduler.overlap_rows},
          {"test_time", now()},
          {"avg_ns", ns.mean},
          {"stddev_ns", ns.deviation},
          {"avg_ts", ts.mean},
          {"stddev_ts", ts.deviation},
          {"samples_ns", times_ns},
          {"samples_ts", rates},
          {"share_of_limit", share},
          {"percent_of_limit", 100 * share},
          {"read_gbps", statistics(read_gbps).mean},
          {"samples_read_gbps", read_gbps},
          {"peak_gmacs", peak_gmacs_},
          {"gmacs", work.total_multiply_adds() / mean_s / 1e9},
          {"weight_gbps", work.total_weight_bytes() / mean_s / 1e9},
          {"weight_bytes", work.total_weight_bytes()},
          {"multiply_adds", work.total_multiply_adds()},
          {"logits_hash", hash.hex()},
          {"ts", fmt::format("{:.2f} ± {:.2f}", ts.mean, ts.deviation)},
          {"right", right}};
}

}  // namespace moesaic::apps::bench
