#pragma once

#include <optional>
#include <string>

#include "config/grok1.hpp"
#include "io/tensor_inventory.hpp"

namespace moesaic::converters {

/// An xAI checkpoint, looked at but not read yet.
struct XaiCheckpoint {
  std::string folder;       ///< that holds tensor00000_000
  std::string name;         ///< its last path components, for provenance
  std::string config_file;  ///< empty: Grok-1's configuration
  std::optional<std::string> tokenizer_file;
  ModelConfig config = kGrok1;
  io::ScaleGroups groups;
  std::string scales_type;  ///< "bfloat16" or "float32", as the first layer has it
};

/// `path` is ckpt-0 or the folder that holds it. Reads config.json and the first layer's scales, and checks that every
/// parameter has its file. Error names what is missing.
XaiCheckpoint find_checkpoint(const std::string& path);

}  // namespace moesaic::converters
