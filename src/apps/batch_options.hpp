#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "apps/options.hpp"
#include "batch/batch_run.hpp"

namespace moesaic::apps {

/// The command line of `moesaic batch`.
struct BatchOptions {
  ModelOptions model;
  batch::BatchInput input;
  std::string output, chat_template, report;
  std::optional<openai::LineFormat> format;  ///< nothing: guessed
  SchedulerOptions scheduler;
  std::int64_t kv_memory_mib = 0;  ///< of each rank; 0: chosen
  std::optional<std::chrono::seconds> max_time;

  /// The model's name in results of requests that name none: the store's name without folder and ending.
  std::string model_name() const;
};

/// Parses the command line; nothing: help was asked for.
std::optional<BatchOptions> parse_batch(const std::vector<std::string>& arguments);

/// HH:MM:SS, MM:SS or seconds. Error names the option.
std::chrono::seconds duration_of(const std::string& text, const char* option);

/// I/N: part I of N, counted from 0; N/N is 0/N, for who counts from 1.
batch::Shard shard_of(const std::string& text);

}  // namespace moesaic::apps
