#include "plan/machine_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/error.hpp"
#include "config/weight_format.hpp"

namespace moesaic::plan {
namespace {

/// Shares that our kernels reach on the processors measured so far (docs/performance.md), assumed of data sheets.
constexpr double kShareOfRead = 0.85, kShareOfPeak = 0.80;
constexpr double kAttentionShareOfPeak = 0.5;

void derive_kernels(ComputeCosts& compute) {
  for (const Numerics numerics : kAllNumerics)
    compute.kernels[numerics] = kernels_from_limits(compute, numerics, kShareOfRead, kShareOfPeak);
}

LinkCost sheet_link(double latency_us, double message_us, double gbps) {
  return {latency_us, message_us, gbps, gbps, false};
}

Machine gpu_node(std::string_view name, double hbm_gbps, double memory_gb) {
  Machine m;
  m.name = name;
  m.source = fmt::format(
      "data sheet: 8 GPUs of {:.2f} TB/s HBM, 989 TFLOP/s dense bf16, 1979 TOP/s int8, NVLink 450 GB/s "
      "each way, one NIC of 400 Gbit/s a GPU; latencies and shares assumed",
      hbm_gbps / 1000);
  m.ranks_per_node = m.ranks_per_numa = 8;
  m.memory_gb = memory_gb;
  ComputeCosts c;
  c.read_gbps = hbm_gbps;
  c.peak_gmacs = {33'500, 494'500, 989'500, 494'750};
  c.call_us = 3;
  c.norm_ps = 8e3 / hbm_gbps;
  c.value_ps = 12e3 / hbm_gbps;
  c.router_ps = 0.1;
  c.step_us = 30;
  derive_kernels(c);
  m.compute.push_back(c);
  m.link(LinkClass::kSelf) = sheet_link(0, 0, hbm_gbps / 2);
  m.link(LinkClass::kNuma) = sheet_link(3, 0.5, 450);
  m.link(LinkClass::kNode) = sheet_link(3, 0.5, 450);
  m.link(LinkClass::kNetwork) = sheet_link(6, 1, 50);
  return m;
}

Machine zen4_hdr() {
  Machine m;
  m.name = "cpu-zen4-ib-hdr";
  m.source =
      "data sheet: 2 sockets of 96 Zen 4 cores at 2.4 GHz (32 bf16, 64 int8 multiply-adds a cycle), 12 channels of "
      "DDR5-4800 each (460.8 GB/s), InfiniBand HDR 200 Gbit/s a node; one rank a socket; latencies and shares assumed";
  m.ranks_per_node = 2;
  m.ranks_per_numa = 1;
  m.memory_gb = 384;
  ComputeCosts c;
  c.num_threads = 96;
  c.read_gbps = 460.8;
  c.peak_gmacs = {3'686, 7'373, 14'746, 7'373};
  c.call_us = 5;
  c.norm_ps = 10;
  c.value_ps = 10;
  c.router_ps = 5;
  c.step_us = 20;
  derive_kernels(c);
  m.compute.push_back(c);
  m.link(LinkClass::kSelf) = sheet_link(0, 0, 100);
  m.link(LinkClass::kNuma) = sheet_link(0.5, 0.2, 10);
  m.link(LinkClass::kNode) = sheet_link(0.8, 0.2, 10);
  m.link(LinkClass::kNetwork) = {1.2, 0.3, 24, 12.5, false};
  return m;
}

/// What runs are planned with when no machine is named.
Machine ordinary() {
  Machine m;
  m.name = "ordinary";
  m.source = "nominal constants of a rank of an ordinary cluster's node";
  m.ranks_per_node = 8;
  m.ranks_per_numa = 4;
  ComputeCosts c;
  c.read_gbps = 20;
  c.peak_gmacs = {60, 120, 240, 120};
  c.call_us = 1;
  c.norm_ps = 200;
  c.value_ps = 200;
  c.router_ps = 100;
  c.step_us = 20;
  derive_kernels(c);
  m.compute.push_back(c);
  m.link(LinkClass::kSelf) = sheet_link(0, 0, 10);
  m.link(LinkClass::kNuma) = sheet_link(1, 0.4, 5);
  m.link(LinkClass::kNode) = sheet_link(1, 0.4, 5);
  m.link(LinkClass::kNetwork) = {3, 0.8, 10, 2.5, false};
  return m;
}

}  // namespace

std::string_view name(LinkClass link) {
  constexpr std::string_view kNames[] = {"self", "numa", "node", "network"};
  return kNames[static_cast<std::size_t>(link)];
}

double RowCurve::at(double rows) const {
  if (rows <= 0 || points.empty()) return 0;
  const Point& last = points.back();
  if (rows >= static_cast<double>(last.rows)) return last.cost * rows / static_cast<double>(last.rows);
  const auto above = std::find_if(points.begin(), points.end(),
                                  [&](const Point& point) { return static_cast<double>(point.rows) >= rows; });
  if (above == points.begin()) return above->cost;
  const Point &low = *(above - 1), &high = *above;
  const double share = (rows - static_cast<double>(low.rows)) / static_cast<double>(high.rows - low.rows);
  return low.cost + share * (high.cost - low.cost);
}

RowCurve RowCurve::roofline(double read_cost, double row_cost) {
  RowCurve curve;
  for (std::int64_t rows = 1; rows <= 4096; rows *= 2)
    curve.points.push_back({rows, std::max(read_cost, row_cost * static_cast<double>(rows))});
  return curve;
}

const ComputeCosts& Machine::with_threads(int num_threads) const {
  MOESAIC_CHECK(!compute.empty(), "{} has no compute costs", name);
  if (num_threads <= 0) return compute.front();
  return *std::min_element(compute.begin(), compute.end(), [&](const ComputeCosts& a, const ComputeCosts& b) {
    return std::abs(a.num_threads - num_threads) < std::abs(b.num_threads - num_threads);
  });
}

KernelCosts kernels_from_limits(const ComputeCosts& compute, Numerics numerics, double share_of_read,
                                double share_of_peak) {
  const double weight_bytes = numerics == Numerics::kW16A16                ? 2
                              : format_of(numerics) == WeightFormat::kInt4 ? 0.53125
                                                                           : 1;
  const double read_ps = weight_bytes * 1e3 / (compute.read_gbps * share_of_read);
  const double row_ps = 1e3 / (compute.peak_gmacs[peak_of(input_type(numerics))] * share_of_peak);
  const RowCurve curve = RowCurve::roofline(read_ps, row_ps);
  // A key's value of a head is read twice, as key and as value, and multiplied twice.
  const double elem_bytes = static_cast<double>(size_bytes(activation_type(numerics)));
  const double attention_peak = compute.peak_gmacs[peak_of(activation_type(numerics))] * kAttentionShareOfPeak;
  const double attention_ps = std::max(2e3 / attention_peak, 0.0);
  RowCurve attention;
  for (std::int64_t rows = 1; rows <= 64; rows *= 2)
    attention.points.push_back(
        {rows, std::max(2 * elem_bytes * 1e3 / (compute.read_gbps * share_of_read) / 4,  // q heads that share keys
                        attention_ps * static_cast<double>(rows))});
  return {curve, curve, attention};
}

Machine machine_preset(std::string_view name) {
  if (name == "ordinary") return ordinary();
  if (name == "h100-node") return gpu_node(name, 3350, 80);
  if (name == "h200-node") return gpu_node(name, 4800, 141);
  if (name == "cpu-zen4-ib-hdr") return zen4_hdr();
  std::string names;
  for (const std::string_view preset : kMachinePresets) names += fmt::format("{}{}", names.empty() ? "" : ", ", preset);
  fail("machine '{}': there is neither such a file nor such a preset ({}); moesaic calibrate writes a file", name,
       names);
}

}  // namespace moesaic::plan
