#include "engine/layer_hashes.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "comm/agree.hpp"
#include "comm/share.hpp"

namespace moesaic {
namespace {

constexpr int kNumOperations = static_cast<int>(Operation::kLogits) + 1;

std::optional<std::int32_t> operation_from(std::string_view text) {
  for (int i = 0; i < kNumOperations; ++i)
    if (text == name(static_cast<Operation>(i))) return i;
  return std::nullopt;
}

std::string describe(const std::tuple<std::int32_t, std::int32_t, std::int32_t>& key) {
  const auto [sequence, layer, operation] = key;
  return fmt::format("sequence {}, layer {}, {}", sequence, layer, name(static_cast<Operation>(operation)));
}

}  // namespace

void LayerHashes::see(ProbePoint point, const TokenBatch& batch, Range rows, std::span<const float> values) {
  const auto record = [&](std::size_t row, std::span<const float> of_row) {
    records_.push_back({batch.sequences[row].value(), point.layer, static_cast<std::int32_t>(point.operation),
                        batch.positions[row], hash_bytes(std::as_bytes(of_row))});
  };
  for_each_row(rows, record, values);
}

void LayerHashes::see_routing(ModelLayer layer, const TokenBatch& batch, Range rows,
                              std::span<const std::int32_t> experts, std::span<const float> gates) {
  const auto record = [&](std::size_t row, std::span<const std::int32_t> chosen, std::span<const float> their_gates) {
    Hasher hasher;
    hasher.update(std::as_bytes(chosen));
    hasher.update(std::as_bytes(their_gates));
    records_.push_back({batch.sequences[row].value(), layer.value(), static_cast<std::int32_t>(Operation::kRouter),
                        batch.positions[row], hasher.digest()});
  };
  for_each_row(rows, record, experts, gates);
}

void LayerHashes::write(const comm::Communicator& world, const std::filesystem::path& file,
                        const std::string& header) const {
  std::optional<io::TemporaryFile> place;
  comm::on_root(world, [&] { place.emplace(file.string()); });
  publish(world, place, header);
}

void LayerHashes::publish(const comm::Communicator& world, std::optional<io::TemporaryFile>& place,
                          const std::string& header) const {
  std::vector<Record> all = comm::gather_joined(world, records_);
  comm::on_root(world, [&] {
    place->append(gathered(std::move(all), header));
    place->publish();
  });
}

std::string LayerHashes::gathered(std::vector<Record> records, const std::string& header) {
  const auto key = [](const Record& r) { return std::tie(r.sequence, r.layer, r.operation); };
  std::sort(records.begin(), records.end(), [&](const Record& a, const Record& b) {
    return std::tuple_cat(key(a), std::tie(a.position)) < std::tuple_cat(key(b), std::tie(b.position));
  });
  std::string text = "# moesaic layer hashes: sequence layer operation rows hash\n# " + header + "\n";
  for (std::size_t begin = 0; begin < records.size();) {
    Hasher hasher;
    std::size_t end = begin;
    for (; end < records.size() && key(records[end]) == key(records[begin]); ++end)
      hasher.update(std::as_bytes(std::span(records[end].hash.bytes)));
    const Record& first = records[begin];
    text += fmt::format("{} {} {} {} {}\n", first.sequence, first.layer, name(static_cast<Operation>(first.operation)),
                        end - begin, hasher.digest().hex());
    begin = end;
  }
  return text;
}

LayerHashFile read_layer_hashes(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) fail("{}: cannot be opened", file.string());
  LayerHashFile result;
  int line_number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++line_number;
    if (line.starts_with("#")) {
      if (line_number == 2) result.header = line.substr(1);
      continue;
    }
    std::istringstream words(line);
    std::int32_t sequence = 0, layer = 0;
    std::string operation, num_rows, hash, more;
    const bool good =
        static_cast<bool>(words >> sequence >> layer >> operation >> num_rows >> hash) && !(words >> more);
    const auto operation_idx = operation_from(operation);
    constexpr std::size_t kHash_digits = 32;
    if (!good || !operation_idx || hash.size() != kHash_digits)
      fail("{}:{}: not a line of layer hashes: expected 'sequence layer operation rows hash', found '{}'",
           file.string(), line_number, line.substr(0, 80));
    result.hashes[{sequence, layer, *operation_idx}] = num_rows + " " + hash;
  }
  if (result.hashes.empty()) fail("{}: holds no layer hashes", file.string());
  return result;
}

std::optional<std::string> first_difference(const LayerHashFile& a, const LayerHashFile& b) {
  auto in_a = a.hashes.begin();
  auto in_b = b.hashes.begin();
  for (; in_a != a.hashes.end() && in_b != b.hashes.end(); ++in_a, ++in_b) {
    if (in_a->first != in_b->first)
      return describe(std::min(in_a->first, in_b->first)) + " (only one of the files has it)";
    if (in_a->second != in_b->second) return describe(in_a->first);
  }
  if (in_a != a.hashes.end()) return describe(in_a->first) + " (only the first file has it)";
  if (in_b != b.hashes.end()) return describe(in_b->first) + " (only the second file has it)";
  return std::nullopt;
}

}  // namespace moesaic
