#pragma once

#include <string>

#include "comm/mpi.hpp"
#include "config/weight_format.hpp"

namespace moesaic::converters {

struct ConvertStoreOptions {
  std::string store;  ///< of int8 weights
  std::string out;
  WeightFormat format = WeightFormat::kInt4;
  bool force = false;  ///< replace an existing store
};

/// Collective: the model of a store with its matrices in another format, all else as it was; the pieces are shared out
/// over the ranks, each needs the memory of a few. Error on all ranks when one fails; then nothing is left.
void convert_store(const ConvertStoreOptions& options, const comm::Communicator& comm);

}  // namespace moesaic::converters
