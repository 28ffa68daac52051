#include "apps/batch_progress.hpp"

#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "base/log.hpp"

namespace moesaic::apps {

bool Interval::due() {
  const Clock::time_point now = Clock::now();
  if (now - last_ < length_) return false;
  last_ = now;
  return true;
}

StopLimit::StopLimit(const std::string& output, std::optional<std::chrono::seconds> max_time)
    : files_{output + ".stop", (std::filesystem::path(output).parent_path() / "STOP").string()} {
  constexpr double kUsedShare = 0.99;  // as GROMACS's -maxh
  if (max_time)
    end_ = Clock::now() + std::chrono::milliseconds(
                              static_cast<std::int64_t>(kUsedShare * 1e3 * static_cast<double>(max_time->count())));
}

std::optional<std::string> StopLimit::stop_file() const {
  std::error_code ignored;
  for (const std::string& file : files_)
    if (std::filesystem::exists(file, ignored)) return file;
  return std::nullopt;
}

void StopLimit::check_files() const {
  if (const auto file = stop_file()) fail("{} is there, which stops the job: remove it to run", *file);
}

std::optional<std::string> StopLimit::reached() {
  if (end_ && Clock::now() >= *end_) return "--max-time";
  if (!look_.due()) return std::nullopt;
  const auto file = stop_file();
  return file ? std::optional("the file " + *file) : std::nullopt;
}

std::optional<double> StopLimit::seconds_left() const {
  if (!end_) return std::nullopt;
  return std::max(0.0, std::chrono::duration<double>(*end_ - Clock::now()).count());
}

std::string readable_time(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

void BatchProgress::report(std::int64_t num_done, const Metrics& metrics) {
  if (!interval_.due()) return;
  const Clock::time_point now = Clock::now();
  const std::int64_t tokens = metrics.prompt_tokens + metrics.drawn_tokens;
  const double rate = static_cast<double>(tokens - last_tokens_) / std::chrono::duration<double>(now - last_).count();
  last_ = now;
  last_tokens_ = tokens;
  const auto done_here = static_cast<double>(num_done - num_done_at_start_);
  const std::string eta =
      done_here > 0 ? readable_time(seconds() / done_here * static_cast<double>(num_requests_ - num_done)) : "unknown";
  const auto left = limit_.seconds_left();
  spdlog::info("{}: {} of {} requests, {:.1f} tokens/s, {} sequences running, {} waiting, ETA {}{}",
               readable_time(seconds()), num_done, num_requests_, rate, metrics.num_running, metrics.num_queued, eta,
               left ? fmt::format(", {} to the time limit", readable_time(*left)) : "");
}

}  // namespace moesaic::apps
