#include "xai/checkpoint.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "config/config_file.hpp"
#include "io/mapped_file.hpp"
#include "xai/parameters.hpp"

namespace moesaic::converters {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFirstFile = "tensor00000_000";

fs::path find_folder(const fs::path& path) {
  if (!fs::exists(path)) fail("{}: no such folder", path.string());
  if (!fs::is_directory(path)) fail("{}: not a folder; the folder ckpt-0 of a checkpoint is expected", path.string());
  for (const auto& folder : {path, path / "ckpt-0"})
    if (fs::exists(folder / kFirstFile)) return folder;
  fail("{}: no xAI checkpoint: neither it nor its ckpt-0 has a file {}", path.string(), kFirstFile);
}

/// "tensor" five digits "_" three digits.
bool is_tensor_file(const std::string& name) {
  constexpr std::string_view kPattern = "tensor#####_###";
  return name.size() == kPattern.size() && std::ranges::equal(name, kPattern, [](char c, char pattern) {
           return pattern == '#' ? c >= '0' && c <= '9' : c == pattern;
         });
}

/// Every parameter has its file and every tensor file its parameter.
void check_files(const XaiCheckpoint& checkpoint) {
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator(checkpoint.folder))
    if (is_tensor_file(entry.path().filename())) found.insert(entry.path().filename());
  for (const auto& name : found)
    if (!name.ends_with("_000"))
      fail("{}: {}: a parameter in several shards, expected one file (..._000) a parameter", checkpoint.folder, name);
  const auto parameters = xai_parameters(checkpoint.config, checkpoint.groups);
  const std::string by =
      checkpoint.config_file.empty() ? "Grok-1's configuration (there is no config.json)" : checkpoint.config_file;
  for (const auto& parameter : parameters)
    if (!found.contains(parameter.file))
      fail("{}: {} ({}) is missing; {} files are there, {} layers make {} by {}", checkpoint.folder, parameter.file,
           parameter.path, found.size(), checkpoint.config.num_layers, parameters.size(), by);
  if (found.size() > parameters.size())
    fail("{}: {} tensor files are there, {} layers make {} by {}", checkpoint.folder, found.size(),
         checkpoint.config.num_layers, parameters.size(), by);
}

/// How many input groups the scales of a row-parallel parameter have.
std::int64_t scale_groups(const XaiCheckpoint& checkpoint, std::string_view path_end, std::string& scales_type) {
  const auto parameters = xai_parameters(checkpoint.config, {});
  const auto parameter = std::ranges::find_if(parameters, [&](const auto& p) { return p.path.ends_with(path_end); });
  const std::string file = checkpoint.folder + "/" + parameter->file;
  if (!fs::exists(file)) return kNumLeaves;  // check_files tells what is missing
  const io::MappedFile map(file);
  const PickledTensor tensor = read_pickle(map.bytes(), fmt::format("{} ({})", file, parameter->path));
  if (!tensor.scales || tensor.scales->shape.size() < 2) return kNumLeaves;  // check_tensor tells what is wrong
  scales_type = tensor.scales->type_name;
  const std::int64_t groups = tensor.scales->shape[tensor.scales->shape.size() - 2];
  if (groups != 1 && groups != kNumLeaves)
    fail("{} ({}): the scales have {} input groups, expected 1 or {}", file, parameter->path, groups, kNumLeaves);
  return groups;
}

}  // namespace

XaiCheckpoint find_checkpoint(const std::string& path) {
  XaiCheckpoint checkpoint;
  const fs::path folder = find_folder(path);
  const fs::path whole = fs::canonical(folder);
  checkpoint.folder = folder.string();
  checkpoint.name = (whole.parent_path().filename() / whole.filename()).string();
  const auto beside = [&](const char* name) -> std::optional<std::string> {
    for (const auto& place : {whole.parent_path(), whole})
      if (fs::exists(place / name)) return (place / name).string();
    return std::nullopt;
  };
  checkpoint.config_file = beside("config.json").value_or("");
  checkpoint.tokenizer_file = beside("tokenizer.model");
  if (!checkpoint.config_file.empty()) checkpoint.config = read_xai_config(checkpoint.config_file);
  checkpoint.groups.attn_out = scale_groups(checkpoint, "multi_head_attention/linear/w", checkpoint.scales_type);
  checkpoint.groups.moe_down = scale_groups(checkpoint, "moe/linear_1/w", checkpoint.scales_type);
  check_files(checkpoint);
  return checkpoint;
}

}  // namespace moesaic::converters
