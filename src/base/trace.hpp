#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace moesaic {

/// The stages of a forward pass, as the tables of docs and benchmarks name them.
enum class Zone : std::uint8_t {
  kEmbed,
  kNorm,
  kGatherRows,
  kAttention,
  kReduceScatter,
  kRouter,
  kDispatch,
  kExperts,
  kCombine,
  kPermute,  // this and the next three are parts of dispatch or combine: is_part()
  kSend,
  kWait,
  kUnpermute,
  kHandOver,
  kHead,
  kSample,
  kSchedule,
  kStep,
  kLoad,
  kCount
};

inline constexpr std::size_t kNumZones = static_cast<std::size_t>(Zone::kCount);

std::string_view name(Zone zone);
/// Whether a zone is a part of dispatch or combine, so that its time is counted in theirs too.
constexpr bool is_part(Zone zone) { return zone >= Zone::kPermute && zone <= Zone::kUnpermute; }

/// Seconds spent in each zone by this rank's main thread.
struct ZoneTimes {
  std::array<double, kNumZones> seconds{};
  std::array<std::int64_t, kNumZones> calls{};
};

ZoneTimes& zone_times();

/// Where this rank's main thread is, for whoever asks while it waits (signal handlers too).
struct Position {
  static constexpr std::int32_t kNoLayer = -1;
  std::atomic<std::int64_t> step{0};          ///< step of the engine, from 1; 0 before the first
  std::atomic<std::int32_t> layer{kNoLayer};  ///< layer of the model
  std::atomic<Zone> zone{Zone::kCount};       ///< innermost zone that is no part of another; kCount: none
  std::atomic<Zone> completed{Zone::kCount};  ///< zone that ended last
};

Position& position();

/// Adds the time of its own life to a zone.
class TraceZone {
 public:
  explicit TraceZone(Zone zone);
  ~TraceZone();
  TraceZone(const TraceZone&) = delete;
  TraceZone& operator=(const TraceZone&) = delete;

 private:
  Zone zone_, outer_;
  std::chrono::steady_clock::time_point start_;
};

/// Runs `work` inside a zone.
template <class Work>
void timed(Zone zone, Work&& work) {
  const TraceZone traced(zone);
  work();
}

}  // namespace moesaic
