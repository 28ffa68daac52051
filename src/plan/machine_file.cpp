#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "plan/machine_model.hpp"

namespace moesaic::plan {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
constexpr const char* kFormat = "moesaic machine 1";
constexpr const char* kFactors[] = {"fp32", "bf16", "int8", "int16"};

ordered_json to_json(const RowCurve& curve) {
  ordered_json list = ordered_json::array();
  for (const auto& [rows, cost] : curve.points) list.push_back({rows, cost});
  return list;
}

ordered_json to_json(const ComputeCosts& c) {
  ordered_json json;
  json["threads"] = c.num_threads;
  json["read_gbps"] = c.read_gbps;
  for (std::size_t i = 0; i < std::size(kFactors); ++i) json["peak_gmacs"][kFactors[i]] = c.peak_gmacs[i];
  json["call_us"] = c.call_us;
  json["norm_ps_a_value"] = c.norm_ps;
  json["value_ps"] = c.value_ps;
  json["router_ps_a_multiply_add"] = c.router_ps;
  json["step_us"] = c.step_us;
  for (const Numerics numerics : kAllNumerics) {
    const KernelCosts& k = c.of(numerics);
    if (k.matrix_ps.empty()) continue;
    json["kernels"][std::string(moesaic::name(numerics))] = {
        {"matrix_rows_and_ps_a_weight", to_json(k.matrix_ps)},
        {"gated_rows_and_ps_a_weight", to_json(k.gated_ps)},
        {"attention_rows_and_ps_a_key_value", to_json(k.attention_ps)}};
  }
  return json;
}

/// Reads a field, and says which one is missing or out of range.
class Reader {
 public:
  Reader(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) fail("{}: expected an object", where_);
  }

  bool has(const std::string& key) const { return object_.contains(key); }
  const json& field(const std::string& key) const {
    if (!object_.contains(key)) fail("{}: '{}' is missing; write the file anew with moesaic calibrate", where_, key);
    return object_[key];
  }
  double number(const std::string& key, double least) const {
    const json& value = field(key);
    if (!value.is_number()) fail("{}: '{}' is {}, expected a number", where_, key, json_text(value));
    const double found = value.get<double>();
    if (!(found >= least && std::isfinite(found)))
      fail("{}: '{}' is {}, expected at least {}", where_, key, found, least);
    return found;
  }
  double positive(const std::string& key) const { return number(key, 1e-12); }
  int count(const std::string& key) const {
    const double found = number(key, 1);
    if (found != std::floor(found) || found > 1 << 20)
      fail("{}: '{}' is {}, expected 1 to 1048576", where_, key, found);
    return static_cast<int>(found);
  }
  std::string text(const std::string& key) const {
    const json& value = field(key);
    if (!value.is_string()) fail("{}: '{}' is {}, expected a text", where_, key, json_text(value));
    return value.get<std::string>();
  }
  Reader inside(const std::string& key) const { return {field(key), where_ + ": " + key}; }
  RowCurve curve(const std::string& key) const {
    RowCurve curve;
    const json& list = field(key);
    const auto wrong = [&](const json& value) {
      fail("{}: '{}' has {}, expected [rows, picoseconds] with ascending rows and positive times", where_, key,
           json_text(value));
    };
    if (!list.is_array() || list.empty()) wrong(list);
    for (const json& point : list) {
      if (!point.is_array() || point.size() != 2 || !point[0].is_number_integer() || !point[1].is_number())
        wrong(point);
      const auto rows = point[0].get<std::int64_t>();
      const double cost = point[1].get<double>();
      if (rows < 1 || !(cost > 0) || (!curve.empty() && rows <= curve.points.back().rows)) wrong(point);
      curve.points.push_back({rows, cost});
    }
    return curve;
  }
  const std::string& where() const { return where_; }

 private:
  const json& object_;
  std::string where_;
};

ComputeCosts compute_from(const Reader& reader) {
  ComputeCosts c;
  c.num_threads = reader.count("threads");
  c.read_gbps = reader.positive("read_gbps");
  const Reader peaks = reader.inside("peak_gmacs");
  for (std::size_t i = 0; i + 1 < std::size(kFactors); ++i) c.peak_gmacs[i] = peaks.positive(kFactors[i]);
  // Files from before there was w8i16 lack it: two products of bytes make one.
  c.peak_gmacs[3] = peaks.has("int16") ? peaks.positive("int16") : c.peak_gmacs[2] / 2;
  c.call_us = reader.number("call_us", 0);
  c.norm_ps = reader.number("norm_ps_a_value", 0);
  c.value_ps = reader.number("value_ps", 0);
  c.router_ps = reader.number("router_ps_a_multiply_add", 0);
  c.step_us = reader.number("step_us", 0);
  const Reader kernels = reader.inside("kernels");
  for (const auto& [key, value] : reader.field("kernels").items()) {
    const auto numerics = numerics_from(key);
    if (!numerics) fail("{}: '{}' is no numeric mode, expected {}", kernels.where(), key, kNumericsOptions);
    const Reader mode = kernels.inside(key);
    c.kernels[*numerics] = {mode.curve("matrix_rows_and_ps_a_weight"), mode.curve("gated_rows_and_ps_a_weight"),
                            mode.curve("attention_rows_and_ps_a_key_value")};
  }
  constexpr double kShareOfRead = 0.85, kShareOfPeak = 0.8;  // of modes that were not measured
  for (const Numerics numerics : kAllNumerics)
    if (KernelCosts& k = c.kernels[numerics]; k.matrix_ps.empty())
      k = kernels_from_limits(c, numerics, kShareOfRead, kShareOfPeak);
  return c;
}

}  // namespace

std::string to_text(const Machine& machine) {
  ordered_json json;
  json["format"] = kFormat;
  json["machine"] = machine.name;
  json["source"] = machine.source;
  json["ranks_per_node"] = machine.ranks_per_node;
  json["ranks_per_numa"] = machine.ranks_per_numa;
  json["memory_gb_a_rank"] = machine.memory_gb;
  for (const LinkClass of : kAllLinkClasses) {
    const LinkCost& link = machine.link(of);
    json["links"][std::string(name(of))] = {{"latency_us", link.latency_us},
                                            {"message_us", link.message_us},
                                            {"stream_gbps", link.stream_gbps},
                                            {"shared_gbps", link.shared_gbps},
                                            {"measured", link.measured}};
  }
  for (const ComputeCosts& c : machine.compute) json["compute"].push_back(to_json(c));
  return json_text(json, 1) + "\n";
}

Machine machine_from_text(const std::string& text, const std::string& source) {
  const json root = parse_json(text, source, "moesaic calibrate writes a machine file");
  const Reader reader(root, source);
  if (const std::string format = reader.text("format"); format != kFormat)
    fail("{}: 'format' is '{}', expected '{}'; write the file anew with moesaic calibrate", source, format, kFormat);
  Machine m;
  m.name = reader.text("machine");
  m.source = reader.text("source");
  m.ranks_per_node = reader.count("ranks_per_node");
  m.ranks_per_numa = reader.count("ranks_per_numa");
  m.memory_gb = reader.number("memory_gb_a_rank", 0);
  const Reader links = reader.inside("links");
  for (const LinkClass of : kAllLinkClasses) {
    const Reader link = links.inside(std::string(name(of)));
    const json& measured = link.field("measured");
    if (!measured.is_boolean()) fail("{}: 'measured' is {}, expected true or false", link.where(), json_text(measured));
    m.link(of) = {link.number("latency_us", 0), link.number("message_us", 0), link.positive("stream_gbps"),
                  link.positive("shared_gbps"), measured.get<bool>()};
  }
  const json& compute = reader.field("compute");
  if (!compute.is_array() || compute.empty()) fail("{}: 'compute' has no entry", source);
  for (std::size_t i = 0; i < compute.size(); ++i)
    m.compute.push_back(compute_from({compute[i], fmt::format("{}: compute[{}]", source, i)}));
  return m;
}

Machine read_machine(const std::string& preset_or_file) {
  std::ifstream stream(preset_or_file);
  if (!stream) return machine_preset(preset_or_file);
  std::ostringstream text;
  if (!(text << stream.rdbuf()))
    fail("{}: is empty or cannot be read; moesaic calibrate writes a machine file", preset_or_file);
  return machine_from_text(text.str(), preset_or_file);
}

}  // namespace moesaic::plan
