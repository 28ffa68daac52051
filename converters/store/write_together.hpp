#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "comm/mpi.hpp"
#include "host/progress.hpp"
#include "io/store_writer.hpp"

namespace moesaic::converters {

/// Collective: lays out `store` (rank 0's) under `out`, has every rank `write` its share of the pieces, all of them
/// together, and gives the file its name. Error on all ranks when one fails; then nothing is left. Returns the index,
/// without hashes.
io::StoreIndex write_together(const comm::Communicator& comm, const std::string& out, bool force,
                              const io::NewStore& store, const std::function<void(io::PieceWriter&)>& write);

/// What a conversion says while it runs and when it is done; timed from its construction.
class ConversionReport {
 public:
  explicit ConversionReport(int num_ranks) : num_ranks_(num_ranks) {}
  /// Of a rank's share.
  host::Progress progress(std::int64_t share_bytes) const;
  /// `made`: of or from what, "of int4 weights".
  void print(const std::string& out, const io::StoreIndex& index, const std::string& made) const;

 private:
  int num_ranks_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace moesaic::converters
