#pragma once

#include <string>
#include <vector>

#include "comm/mpi.hpp"
#include "cpu/isa.hpp"
#include "engine/capture.hpp"
#include "engine/driver.hpp"
#include "start/session.hpp"

/// Running a golden's store inside a test, on all ranks together.
namespace moesaic::test {

/// A converted golden and its sequences.
struct Golden {
  std::string name;
  std::string store;  ///< path
  io::StoreIndex index;
  std::vector<std::vector<std::int32_t>> sequences;
};

/// The golden's store of these weights. Nullopt when the golden is not there (its tests are then skipped).
std::optional<Golden> open_golden(const std::string& name, WeightFormat format = WeightFormat::kInt8);
/// The store that a mode runs on; f32: int8.
std::optional<Golden> open_golden(const std::string& name, Numerics numerics);

struct RunSetting {
  plan::Layout layout;
  Numerics numerics = Numerics::kW8A16;
  cpu::Isa isa = cpu::Isa::kPortable;
  std::int64_t prefill_chunk = 0;
  int num_threads = 1;
  std::string layer_hash_file = {};  ///< written when not empty
  plan::DispatchRequest dispatch = {};
  std::int64_t overlap_rows = 0;
  std::optional<plan::Placement> placement = {};  ///< nothing: without copies
  std::string backend = "cpu";
  std::string text() const;
};

/// Runs sequences of a golden; every rank gets the hash. take_row and capture are used on rank 0.
std::string run_golden(const comm::Communicator& world, const Golden& golden, const RunSetting& setting,
                       const std::vector<std::vector<std::int32_t>>& sequences, LogitsProbe logits_probe = {},
                       CaptureSink capture = {});

}  // namespace moesaic::test
