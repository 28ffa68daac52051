#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_array.hpp"
#include "config/numerics.hpp"

/// What a machine can do, as the cost model (plan/cost_model.hpp) needs it: measured by `moesaic calibrate`, or data
/// sheets. All rates are those of one rank while all ranks of its node work.
namespace moesaic::plan {

/// How near two ranks are to each other.
enum class LinkClass : std::uint8_t { kSelf, kNuma, kNode, kNetwork };
inline constexpr LinkClass kAllLinkClasses[] = {LinkClass::kSelf, LinkClass::kNuma, LinkClass::kNode,
                                                LinkClass::kNetwork};
inline constexpr std::size_t kNumLinkClasses = std::size(kAllLinkClasses);
std::string_view name(LinkClass link);  ///< "self", "numa", "node", "network"

/// A message of n bytes to one of several peers takes latency + messages * message_us + n / rate.
struct LinkCost {
  double latency_us = 0;   ///< alpha: an empty message, one way
  double message_us = 0;   ///< of a further message, on the processor that sends it
  double stream_gbps = 0;  ///< 1 / beta: a long message between two ranks
  double shared_gbps = 0;  ///< what a rank gets while all ranks of its node send
  bool measured = false;   ///< else estimated from the other classes, or a data sheet's
};

/// A measured curve over the number of rows of a call, ascending; linear in between, and beyond the last by its rate.
struct RowCurve {
  struct Point {
    std::int64_t rows = 1;
    double cost = 0;
  };
  std::vector<Point> points;

  bool empty() const { return points.empty(); }
  double at(double rows) const;
  /// Of a kernel whose calls take the longer of reading (read_cost a call) and computing (row_cost a row).
  static RowCurve roofline(double read_cost, double row_cost);
};

/// Kernels of one numeric mode on one rank.
struct KernelCosts {
  RowCurve matrix_ps;     ///< a call, for each weight of the matrix
  RowCurve gated_ps;      ///< the same of gated_gelu, for each weight of its two matrices
  RowCurve attention_ps;  ///< a call, for each row, key, q head and value of a head
};

/// The place of a peak in ComputeCosts::peak_gmacs, by the type of the factors: fp32, bf16, int8, int16.
constexpr std::size_t peak_of(DType factors) {
  return factors == DType::kF32 ? 0 : factors == DType::kBf16 ? 1 : factors == DType::kInt8 ? 2 : 3;
}

/// A rank with a number of threads.
struct ComputeCosts {
  int num_threads = 1;
  double read_gbps = 0;                                               ///< memory
  std::array<double, 4> peak_gmacs{};                                 ///< multiply-adds by peak_of() their factors
  double call_us = 0;                                                 ///< start of a kernel: its threads, or a launch
  double norm_ps = 0;                                                 ///< a value of rms_norm
  double value_ps = 0;                                                ///< a value that is added, rounded or copied
  double router_ps = 0;                                               ///< a multiply-add of the router
  double step_us = 0;                                                 ///< of an engine's step beside the kernels
  EnumArray<Numerics, KernelCosts, std::size(kAllNumerics)> kernels;  ///< by mode; empty: derived from the limits

  const KernelCosts& of(Numerics numerics) const { return kernels[numerics]; }
};

struct Machine {
  std::string name;    ///< of the processor, or the preset
  std::string source;  ///< "measured by moesaic 0.3 with 2 ranks ..." or "data sheet: ..."
  int ranks_per_node = 1;
  int ranks_per_numa = 1;
  double memory_gb = 0;               ///< that a rank may fill; 0: not known
  std::vector<ComputeCosts> compute;  ///< by number of threads, at least one
  EnumArray<LinkClass, LinkCost, kNumLinkClasses> links;

  const LinkCost& link(LinkClass of) const { return links[of]; }
  LinkCost& link(LinkClass of) { return links[of]; }
  /// With the nearest number of threads; 0: the first.
  const ComputeCosts& with_threads(int num_threads) const;
};

/// Kernels that reach these shares of the read bandwidth and of the peak, where no curve was measured.
KernelCosts kernels_from_limits(const ComputeCosts& compute, Numerics numerics, double share_of_read,
                                double share_of_peak);

/// Data sheets: "h100-node", "h200-node", "cpu-zen4-ib-hdr"; and "ordinary", a rank of an ordinary cluster's node,
/// which is meant when no machine is named. Error with the names when there is none of that name.
Machine machine_preset(std::string_view name);
inline constexpr std::string_view kMachinePresets[] = {"ordinary", "cpu-zen4-ib-hdr", "h100-node", "h200-node"};

/// The file that `moesaic calibrate` writes, and back. Error names `source`, the field and what is wrong with it.
std::string to_text(const Machine& machine);
Machine machine_from_text(const std::string& text, const std::string& source);

/// A preset's name, or a file. Error when it is neither.
Machine read_machine(const std::string& preset_or_file);

}  // namespace moesaic::plan
