#pragma once

#include <optional>
#include <string>

#include "comm/mpi.hpp"

namespace moesaic::converters {

struct ConvertOptions {
  std::string checkpoint;  ///< ckpt-0 or the folder that holds it
  std::string out;
  std::optional<std::string> tokenizer;  ///< default: tokenizer.model beside ckpt-0, when there is one
  bool force = false;                    ///< replace an existing store
};

/// Collective: turns an xAI checkpoint into a store; the parameters are shared out over the ranks. Peak memory of a
/// rank is a few hundred MB for Grok-1: the pieces of one matrix. Error on all ranks when one fails; then nothing is
/// left.
void convert_xai(const ConvertOptions& options, const comm::Communicator& comm);

}  // namespace moesaic::converters
