#include "io/store_index.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "config/config_file.hpp"
#include "io/store_header.hpp"

namespace moesaic::io {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "moesaic-store";
constexpr std::size_t kHexDigits = 32;

std::string join_hex(const std::vector<Hash128>& hashes) {
  std::string text;
  text.reserve(hashes.size() * kHexDigits);
  for (const auto& hash : hashes) text += hash.hex();
  return text;
}

/// Member of an object, with the type asked for; Error names the source and the key.
const json& member(const json& object, const char* key, json::value_t type, const std::string& source) {
  if (!object.is_object()) fail("{}: the index is malformed: an object with '{}' expected", source, key);
  const auto found = object.find(key);
  if (found == object.end()) fail("{}: the index has no '{}'", source, key);
  const bool integer = type == json::value_t::number_integer && found->is_number_integer();
  if (!integer && found->type() != type) fail("{}: '{}' in the index is of type {}", source, key, found->type_name());
  return *found;
}

std::int64_t integer(const json& object, const char* key, const std::string& source) {
  const json& value = member(object, key, json::value_t::number_integer, source);
  constexpr std::int64_t kLargest = std::int64_t{1} << 62;
  const bool good = value.is_number_unsigned() ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kLargest)
                                               : value.get<std::int64_t>() >= 0;
  if (!good) fail("{}: '{}' in the index is {}, expected 0 to 2^62", source, key, json_text(value));
  return value.get<std::int64_t>();
}

const std::string& text(const json& object, const char* key, const std::string& source) {
  return member(object, key, json::value_t::string, source).get_ref<const std::string&>();
}

std::vector<Hash128> split_hex(const json& object, const char* key, std::int64_t count, const std::string& source) {
  const std::string& hex = text(object, key, source);
  if (hex.size() != static_cast<std::size_t>(count) * kHexDigits)
    fail("{}: '{}' in the index has {} digits, expected {}", source, key, hex.size(),
         static_cast<std::size_t>(count) * kHexDigits);
  std::vector<Hash128> hashes;
  hashes.reserve(static_cast<std::size_t>(count));
  for (std::size_t at = 0; at < hex.size(); at += kHexDigits)
    hashes.push_back(Hash128::from_hex(std::string_view(hex).substr(at, kHexDigits)));
  return hashes;
}

json describe(const StoredTensor& tensor) {
  const auto& spec = tensor.spec;
  return {{"name", spec.name},
          {"dtype", name(spec.dtype)},
          {"shape", spec.shape},
          {"offset_bytes", tensor.offset_bytes},
          {"piece_bytes", spec.piece_bytes()},
          {"num_pieces", spec.num_pieces()},
          {"hashes", join_hex(tensor.hashes)},
          {"sampled_hashes", join_hex(tensor.sampled_hashes)}};
}

/// Takes offset and hashes of a tensor whose spec the configuration has given; what the file says must agree with it.
void take_tensor(const json& object, StoredTensor& tensor, const std::string& source) {
  const auto& spec = tensor.spec;
  const std::string& found_name = text(object, "name", source);
  if (found_name != spec.name) fail("{}: the index has tensor '{}' where '{}' belongs", source, found_name, spec.name);
  const std::string where = fmt::format("{}: {}", source, spec.name);
  if (text(object, "dtype", where) != name(spec.dtype))
    fail("{}: dtype is {}, expected {}", where, text(object, "dtype", where), name(spec.dtype));
  if (member(object, "shape", json::value_t::array, where) != json(spec.shape))
    fail("{}: shape is {}, expected {} for this configuration", where, json_text(object["shape"]),
         json_text(json(spec.shape)));
  if (integer(object, "piece_bytes", where) != spec.piece_bytes())
    fail("{}: piece_bytes is {}, expected {}", where, json_text(object["piece_bytes"]), spec.piece_bytes());
  if (integer(object, "num_pieces", where) != spec.num_pieces())
    fail("{}: num_pieces is {}, expected {}", where, json_text(object["num_pieces"]), spec.num_pieces());
  tensor.offset_bytes = integer(object, "offset_bytes", where);
  tensor.hashes = split_hex(object, "hashes", spec.num_pieces(), where);
  tensor.sampled_hashes = split_hex(object, "sampled_hashes", spec.num_pieces(), where);
}

}  // namespace

StoreIndex::StoreIndex(const ModelConfig& config, WeightFormat format, ScaleGroups groups, std::string provenance)
    : config_(config), format_(format), groups_(groups), provenance_(std::move(provenance)) {
  for (auto& spec : tensor_inventory(config, groups, format)) {
    by_name_.emplace(spec.name, tensors_.size());
    tensors_.push_back({std::move(spec), 0, {}, {}});
  }
}

std::size_t StoreIndex::tensor_idx(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) fail("the store has no tensor '{}'", name);
  return found->second;
}

const StoredTensor& StoreIndex::tensor(std::string_view name) const { return tensors_[tensor_idx(name)]; }

std::int64_t StoreIndex::weight_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& tensor : tensors_) bytes += tensor.spec.size_bytes();
  return bytes;
}

std::vector<Extent> StoreIndex::gaps(const std::string& source) const {
  struct Named {
    Extent extent;
    std::string_view name;
  };
  std::vector<Named> used{{index_extent, "index"}};
  for (const auto& tensor : tensors_) used.push_back({tensor.extent(), tensor.spec.name});
  if (tokenizer) used.push_back({tokenizer->extent, "tokenizer"});
  std::ranges::sort(used, {}, [](const Named& n) { return n.extent.offset_bytes; });

  std::vector<Extent> gaps;
  std::int64_t position = static_cast<std::int64_t>(kHeaderBytes);
  std::string_view before = "the header";
  for (const auto& [extent, name] : used) {
    if (extent.offset_bytes < position)
      fail("{}: {} at byte {} overlaps {}", source, name, extent.offset_bytes, before);
    // Written so that it cannot overflow: both operands are at most 2^62 and not negative.
    if (extent.size_bytes > file_size_bytes - extent.offset_bytes)
      fail("{}: {} at byte {} with {} bytes leaves the file of {} bytes", source, name, extent.offset_bytes,
           extent.size_bytes, file_size_bytes);
    if (extent.offset_bytes > position) gaps.push_back({position, extent.offset_bytes - position});
    position = extent.end_bytes();
    before = name;
  }
  if (position < file_size_bytes) gaps.push_back({position, file_size_bytes - position});
  return gaps;
}

std::string StoreIndex::to_text() const {
  json list = json::array();
  for (const auto& tensor : tensors_) list.push_back(describe(tensor));
  json root{{"format", kFormat},
            {"version", store_version(format_)},
            {"config", to_json(config_)},
            {"scale_groups", {{"attn_out", groups_.attn_out}, {"moe_down", groups_.moe_down}}},
            {"provenance", parse_json(provenance_, "provenance")},
            {"tensors", std::move(list)}};
  if (format_ != WeightFormat::kInt8) root["weights"] = name(format_);
  if (tokenizer)
    root["tokenizer"] = {{"offset_bytes", tokenizer->extent.offset_bytes},
                         {"size_bytes", tokenizer->extent.size_bytes},
                         {"hash", tokenizer->hash.hex()},
                         {"num_pieces", tokenizer->num_pieces}};
  return json_text(root);
}

StoreIndex StoreIndex::from_text(std::string_view index_text, const std::string& source) {
  const json root = parse_json(index_text, source);
  if (text(root, "format", source) != kFormat)
    fail("{}: the index is of format '{}', expected {}", source, text(root, "format", source), kFormat);
  const ModelConfig config = model_config_from_json(member(root, "config", json::value_t::object, source), source);
  const json& group_counts = member(root, "scale_groups", json::value_t::object, source);
  const ScaleGroups groups{integer(group_counts, "attn_out", source), integer(group_counts, "moe_down", source)};
  const std::string weights = root.contains("weights") ? text(root, "weights", source) : "int8";
  const auto format = weight_format_from(weights);
  if (!format) fail("{}: its weights are '{}', expected {}", source, weights, kWeightFormatOptions);
  const json& list = member(root, "tensors", json::value_t::array, source);
  // Before the inventory is made: a configuration of 16 million layers must not cost memory.
  const std::int64_t expected = num_tensors(config, *format);
  if (static_cast<std::int64_t>(list.size()) != expected)
    fail("{}: the index lists {} tensors, expected {} for {} layers", source, list.size(), expected, config.num_layers);

  StoreIndex index(config, *format, groups, json_text(member(root, "provenance", json::value_t::object, source)));
  for (std::size_t i = 0; i < list.size(); ++i) take_tensor(list[i], index.tensors_[i], source);
  if (root.contains("tokenizer")) {
    const json& entry = member(root, "tokenizer", json::value_t::object, source);
    index.tokenizer = {{integer(entry, "offset_bytes", source), integer(entry, "size_bytes", source)},
                       Hash128::from_hex(text(entry, "hash", source)),
                       integer(entry, "num_pieces", source)};
    if (index.tokenizer->num_pieces > config.vocab_size)
      fail("{}: the tokenizer has {} pieces, more than the vocabulary's {}", source, index.tokenizer->num_pieces,
           config.vocab_size);
  }
  return index;
}

std::string StoreIndex::serialize() const {
  return json_text(json{{"file_size_bytes", file_size_bytes},
                        {"index_offset_bytes", index_extent.offset_bytes},
                        {"index_size_bytes", index_extent.size_bytes},
                        {"structure_hash", structure_hash.hex()},
                        {"index", to_text()}});
}

StoreIndex StoreIndex::parse(std::string_view serialized, const std::string& source) {
  const json root = parse_json(serialized, source);
  StoreIndex index = from_text(text(root, "index", source), source);
  index.file_size_bytes = integer(root, "file_size_bytes", source);
  index.index_extent = {integer(root, "index_offset_bytes", source), integer(root, "index_size_bytes", source)};
  index.structure_hash = Hash128::from_hex(text(root, "structure_hash", source));
  return index;
}

}  // namespace moesaic::io
