#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "../io/temporary_folder.hpp"
#include "base/log.hpp"
#include "batch/result_files.hpp"
#include "engine/run_hash.hpp"

namespace moesaic::batch {

/// A batch whose results are known, in a folder of its own.
struct BatchCase {
  test::TemporaryFolder folder{"/dev/shm"};  // thousands of starts: each waits for the disk elsewhere
  std::string output = folder.file("results.jsonl"), journal = output + ".journal";
  Identity identity{{"input", "requests.jsonl: 1234 bytes"}, {"numerics", "w8a16"}, {"seed", "0"}};
  std::vector<Finished> results;

  explicit BatchCase(std::int64_t num_requests, std::uint32_t seed = 1) {
    spdlog::set_level(spdlog::level::err);  // each broken end is warned of
    std::mt19937 random(seed);
    for (std::int64_t i = 0; i < num_requests; ++i) {
      // With what a journal's frames begin with, lines of many sizes, and records of several lines.
      std::string record = std::to_string(i) + " MJrn " + std::string(random() % 120, 'x') + "\n";
      if (random() % 8 == 0) record += "second line of " + std::to_string(i) + "\n";
      results.push_back({i, record, hash_bytes(std::as_bytes(std::span(record))), random() % 5 == 0});
    }
  }

  std::int64_t num_requests() const { return std::ssize(results); }
  std::string expected_output() const {
    std::string whole;
    for (const Finished& result : results) whole += result.record;
    return whole;
  }
  Hash128 expected_hash() const {
    std::vector<Hash128> hashes;
    for (const Finished& result : results) hashes.push_back(result.logits_hash);
    return run_hash(hashes);
  }
  std::int64_t expected_errors() const {
    return std::ranges::count_if(results, [](const Finished& result) { return result.is_error; });
  }

  /// What a job of this batch opens.
  ResultFiles start() const { return {output, identity}; }
  /// Puts what has not finished, in a random order, and ends the batch.
  Hash128 run_to_the_end(ResultFiles& files, std::mt19937& random) const {
    for (const std::int64_t i : shuffled(random))
      if (!files.finished(i)) files.put(results[static_cast<std::size_t>(i)]);
    return files.finish(num_requests());
  }
  /// One job does all of it.
  void complete() const {
    std::mt19937 random(1);
    ResultFiles files = start();
    run_to_the_end(files, random);
  }
  std::vector<std::int64_t> shuffled(std::mt19937& random) const {
    std::vector<std::int64_t> order(results.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, random);
    return order;
  }

  std::string output_content() const { return test::read_file(output); }
  std::string journal_content() const { return test::read_file(journal); }
};

}  // namespace moesaic::batch
