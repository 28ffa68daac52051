#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "comm/mpi.hpp"
#include "engine/placed_grid.hpp"
#include "engine/threads.hpp"
#include "io/store_reader.hpp"
#include "model/stage.hpp"
#include "plan/footprint.hpp"
#include "plan/planner.hpp"

namespace moesaic {

/// How a store is to be run.
struct ModelOptions {
  std::string store;  ///< path
  plan::LayoutRequest layout;
  std::optional<Numerics> numerics;  ///< nothing: the default of the store's weights
  backend::BackendOptions backend;
  int num_threads = 0;  ///< 0: chosen
  host::Bind bind = host::Bind::kAuto;
  io::Verify verify = io::Verify::kFull;
  plan::DispatchRequest dispatch;
  plan::PlacementRequest placement;
};

/// A store that all ranks have agreed to run, before anything is loaded.
struct OpenedModel {
  std::unique_ptr<io::StoreReader> reader;
  plan::Choice choice;
  plan::Grid grid;
  std::shared_ptr<backend::Backend> backend;
  int num_threads;
  plan::DispatchRequest dispatch;

  plan::Arithmetic arithmetic() const { return {reader->index().format(), backend->numerics(), dispatch.payload}; }
  /// What outputs name beside hashes.
  NumericSetting numeric() const { return {backend->numerics(), dispatch.payload}; }
};

/// Collective: Error on all ranks, naming those that see another file than rank 0 under the store's name (or none).
void require_same_store(const comm::Communicator& world, const std::string& path);

/// Collective: rank 0 reads the index and chooses the layout, all agree. Prints the header of the run. `check`, rank
/// 0's, comes before both; its Error is that of all.
OpenedModel open_model(const comm::Communicator& world, const ModelOptions& options,
                       const std::function<void(const ModelConfig&)>& check = {});

/// What prompts need while up to max_tokens are drawn for each.
plan::Workload workload_of(const std::vector<std::vector<std::int32_t>>& prompts, std::int64_t max_tokens,
                           std::int64_t prefill_chunk, const ModelConfig& config);

/// Collective: rank 0's workload, on every rank.
plan::Workload share(const comm::Communicator& world, plan::Workload workload);

/// Collective: Error on all ranks unless every node has the memory for what its ranks would own, and more_bytes a rank.
void check_memory(const comm::Communicator& world, const OpenedModel& opened, const plan::Workload& workload,
                  std::int64_t more_bytes = 0);

/// Collective: checks the memory, and loads.
std::unique_ptr<Stage> load_model(const comm::Communicator& world, const OpenedModel& opened,
                                  const plan::Workload& workload);

}  // namespace moesaic
