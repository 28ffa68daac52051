#include "engine/routing_trace.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

#include "base/error.hpp"
#include "base/trace.hpp"
#include "comm/agree.hpp"
#include "comm/share.hpp"
#include "io/hdf5.hpp"

namespace moesaic {
namespace {

constexpr std::size_t kHeader_words = 4;

/// Place of a row in the file; keys compare in the order of the file's rows.
struct Key {
  std::int32_t step, sequence, position;
  friend auto operator<=>(const Key&, const Key&) = default;
};

}  // namespace

void RoutingTrace::see_routing(ModelLayer layer, const TokenBatch& batch, Range rows,
                               std::span<const std::int32_t> experts, std::span<const float> gates) {
  const auto step = static_cast<std::int32_t>(position().step.load());
  const auto record = [&](std::size_t row, std::span<const std::int32_t> chosen, std::span<const float> their_gates) {
    words_.insert(words_.end(), {step, layer.value(), batch.sequences[row].value(), batch.positions[row]});
    words_.insert(words_.end(), chosen.begin(), chosen.end());
    for (const float gate : their_gates) words_.push_back(std::bit_cast<std::int32_t>(gate));
  };
  for_each_row(rows, record, experts, gates);
}

void RoutingTrace::publish(const comm::Communicator& world, std::optional<io::TemporaryFile>& place) const {
  const std::vector<std::int32_t> words = comm::gather_joined(world, words_);
  comm::on_root(world, [&] {
    gathered(words).write(place->temporary_path());
    place->publish();
  });
}

RoutingTraceFile RoutingTrace::gathered(std::span<const std::int32_t> words) const {
  const auto active = static_cast<std::size_t>(config_.num_selected_experts);
  const std::size_t record_words = kHeader_words + 2 * active;
  std::vector<std::pair<Key, const std::int32_t*>> records;  // of all layers
  for (std::size_t at = 0; at < words.size(); at += record_words) {
    const std::int32_t* record = words.data() + at;
    records.push_back({{record[0], record[2], record[3]}, record});
  }
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second[1]) < std::tie(b.first, b.second[1]);
  });
  const auto layers = static_cast<std::size_t>(config_.num_layers), rows = records.size() / layers;
  MOESAIC_CHECK(rows * layers == records.size(), "{} records of {} layers", records.size(), layers);
  RoutingTraceFile file{config_.num_experts, config_.num_layers, config_.num_selected_experts, {}, {}, {}, {}, {}};
  file.experts.resize(layers * rows * active);
  file.gates.resize(file.experts.size());
  for (std::size_t row = 0; row < rows; ++row) {
    const Key& key = records[row * layers].first;
    if (row == 0 || records[(row - 1) * layers].first.step != key.step)
      file.first_row.push_back(static_cast<std::int32_t>(row));
    file.sequences.push_back(key.sequence);
    file.positions.push_back(key.position);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const std::int32_t* record = records[row * layers + layer].second;
      const std::size_t to = (layer * rows + row) * active;
      std::copy_n(record + kHeader_words, active, file.experts.begin() + static_cast<std::ptrdiff_t>(to));
      std::memcpy(file.gates.data() + to, record + kHeader_words + active, active * sizeof(float));
    }
  }
  file.first_row.push_back(static_cast<std::int32_t>(rows));
  return file;
}

void RoutingTraceFile::write(const std::string& path) const {
  io::Hdf5File file = io::Hdf5File::create(path);
  file.write_attribute("format", std::string("moesaic routing trace 1"));
  const auto put = [&](const char* name, const auto& list, const std::vector<std::int64_t>& shape) {
    using T = typename std::decay_t<decltype(list)>::value_type;
    auto dataset = file.create_dataset<T>(name, shape);
    dataset.template write_rows<T>({0}, std::span<const T>(list));
  };
  put("/num_experts", std::vector{num_experts}, {1});
  put("/first_row", first_row, {num_batches() + 1});
  put("/sequence", sequences, {num_rows()});
  put("/position", positions, {num_rows()});
  put("/experts", experts, {num_layers, num_rows(), num_active});
  put("/gates", gates, {num_layers, num_rows(), num_active});
  file.close();
}

RoutingTraceFile RoutingTraceFile::read(const std::string& path) {
  const io::Hdf5File file = io::Hdf5File::open(path);
  for (const char* name : {"num_experts", "first_row", "sequence", "position", "experts", "gates"})
    if (!file.contains(std::string("/") + name)) fail("{}: no /{}: not a file of --trace-routing", path, name);
  RoutingTraceFile trace;
  auto experts = file.read<std::int32_t>("/experts");
  auto gates = file.read<float>("/gates");
  trace.first_row = file.read<std::int32_t>("/first_row").values;
  trace.sequences = file.read<std::int32_t>("/sequence").values;
  trace.positions = file.read<std::int32_t>("/position").values;
  constexpr std::size_t kAxes = 3;
  const bool shaped = experts.shape.size() == kAxes && gates.shape == experts.shape &&
                      experts.shape[1] == trace.num_rows() && trace.positions.size() == trace.sequences.size();
  const bool ordered = trace.first_row.size() >= 2 && trace.first_row.front() == 0 &&
                       trace.first_row.back() == trace.num_rows() &&
                       std::is_sorted(trace.first_row.begin(), trace.first_row.end());
  if (!shaped || !ordered || trace.num_rows() == 0)
    fail("{}: the shapes of /first_row, /sequence, /position, /experts and /gates do not go together", path);
  trace.num_layers = experts.shape[0];
  trace.num_active = experts.shape[2];
  trace.num_experts = file.read<std::int64_t>("/num_experts").values.at(0);
  trace.experts = std::move(experts.values);
  trace.gates = std::move(gates.values);
  const auto active = static_cast<std::size_t>(trace.num_active);
  std::vector<std::int32_t> row(active);
  for (std::size_t at = 0; at < trace.experts.size(); at += active) {
    std::copy_n(trace.experts.begin() + static_cast<std::ptrdiff_t>(at), active, row.begin());
    std::sort(row.begin(), row.end());
    if (row.front() < 0 || row.back() >= trace.num_experts || std::adjacent_find(row.begin(), row.end()) != row.end())
      fail("{}: /experts, value {}: not {} different ones of 0 to {} for a row", path, at, trace.num_active,
           trace.num_experts - 1);
  }
  return trace;
}

void RoutingTraceFile::share(const comm::Communicator& world) {
  num_experts = comm::shared(world, num_experts);
  num_layers = comm::shared(world, num_layers);
  num_active = comm::shared(world, num_active);
  first_row = comm::shared(world, first_row);
  sequences = comm::shared(world, sequences);
  positions = comm::shared(world, positions);
  experts = comm::shared(world, experts);
  gates = comm::shared(world, gates);
}

std::pair<std::vector<std::int32_t>, std::vector<float>> RoutingTraceFile::layer(std::int64_t batch,
                                                                                 ModelLayer layer) const {
  const Range range = rows(batch);
  const auto begin = static_cast<std::ptrdiff_t>((layer.value() * num_rows() + range.begin) * num_active);
  const auto size = static_cast<std::ptrdiff_t>(range.size() * num_active);
  return {{experts.begin() + begin, experts.begin() + begin + size},
          {gates.begin() + begin, gates.begin() + begin + size}};
}

}  // namespace moesaic
