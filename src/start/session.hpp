#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/mpi.hpp"
#include "io/store_reader.hpp"
#include "model/stage.hpp"
#include "plan/footprint.hpp"
#include "plan/planner.hpp"
#include "start/placed_grid.hpp"
#include "start/threads.hpp"

namespace moesaic::start {

/// How a store is to be run: what the options of the command line say.
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

/// The start of a job that runs a model, from its store to a stage on every rank. Opening reads the index, chooses the
/// layout, places experts and threads; loading comes later, so that a command can check its own files in between. All
/// member functions that take or return memory or a stage are collective over the job.
class Session {
 public:
  /// Collective: rank 0 reads the index and chooses the layout, and all ranks agree on both. Prints the header of the
  /// run. Rank 0 calls `check` with the model's configuration before anything is chosen; its Error is that of all.
  explicit Session(const ModelOptions& options, const std::function<void(const ModelConfig&)>& check = {});

  const comm::Communicator& world() const { return world_; }
  bool is_root() const { return world_.rank() == 0; }
  const plan::Grid& grid() const { return *grid_; }
  const plan::Layout& layout() const { return grid_->layout(); }
  const ModelConfig& config() const { return grid_->config(); }
  const io::StoreReader& reader() const { return *reader_; }
  const std::shared_ptr<backend::Backend>& backend() const { return backend_; }
  const plan::DispatchRequest& dispatch() const { return dispatch_; }
  int num_threads() const { return num_threads_; }  ///< of this rank

  plan::Arithmetic arithmetic() const { return {reader_->index().format(), backend_->numerics(), dispatch_.payload}; }
  /// The numeric setting that outputs name beside hashes.
  NumericSetting numeric() const { return {backend_->numerics(), dispatch_.payload}; }
  /// The store's tokenizer; nothing where it has none.
  std::optional<io::Tokenizer> tokenizer() const;

  /// Sets the machine model by which load() chooses dispatch algorithms, a text of plan::to_text(), in place of the
  /// file that the options name.
  void set_machine(std::string machine_text) { dispatch_.machine_text = std::move(machine_text); }

  /// Collective: Error on all ranks unless every node has the memory for what its ranks would own, and more_bytes a
  /// rank.
  void check_memory(const plan::Workload& workload, std::int64_t more_bytes = 0) const;
  /// Collective: the weights that this rank owns.
  ModelWeights load_weights() const;
  /// Collective: checks the memory for rank 0's workload, loads, and makes this rank's stage, which stage() gives out.
  void load(const plan::Workload& root_workload);
  Stage& stage() { return *stage_; }

 private:
  bool has_shared_memory(const plan::Workload& workload) const;

  comm::Communicator world_;
  std::unique_ptr<io::StoreReader> reader_;
  std::optional<plan::Grid> grid_;
  std::shared_ptr<backend::Backend> backend_;
  plan::DispatchRequest dispatch_;
  int num_threads_ = 0;
  std::unique_ptr<Stage> stage_;
};

/// Collective: Error on all ranks, naming those that see another file than rank 0 under the store's name (or none).
void require_same_store(const comm::Communicator& world, const std::string& path);

/// Workload of a run that draws up to max_tokens for each prompt.
plan::Workload workload_of(const std::vector<std::vector<std::int32_t>>& prompts, std::int64_t max_tokens,
                           std::int64_t prefill_chunk, const ModelConfig& config);

}  // namespace moesaic::start
