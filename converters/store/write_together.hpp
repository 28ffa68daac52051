#pragma once

#include <functional>
#include <string>

#include "comm/mpi.hpp"
#include "io/store_writer.hpp"

namespace moesaic::converters {

/// Collective: lays out `store` (rank 0's) under `out`, has every rank `write` its share of the pieces, all of them
/// together, and gives the file its name. Error on all ranks when one fails; then nothing is left. Returns the index,
/// without hashes.
io::StoreIndex write_together(const comm::Communicator& comm, const std::string& out, bool force,
                              const io::NewStore& store, const std::function<void(io::PieceWriter&)>& write);

}  // namespace moesaic::converters
