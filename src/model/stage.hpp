#pragma once

#include <vector>

#include "model/decoder_layer.hpp"
#include "model/head.hpp"

namespace moesaic {

/// One rank's part of the model: its stage's layers, and the embedding and head where the stage is the first or the
/// last.
class Stage {
 public:
  /// Collective over the world. weights: what load_weights gave for this rank.
  Stage(const comm::Communicator& world, const plan::Grid& grid, const ops::Kernels& kernels, ModelWeights weights,
        const plan::DispatchRequest& dispatch = {});

  /// Runs a step's micro-batches through the pipeline, several in flight; on world rank 0 the wanted logits and
  /// scores go to `sink`, batch by batch. Collective over the world, with the same step on all ranks. A sequence's
  /// positions must come in ascending order.
  void run(const Step& step, const HeadSink& sink);

  /// Looks at the forward pass from now on; null: nobody does.
  void watch(Probe* probe) { context_.probe = probe; }

  const plan::Grid& grid() const { return context_.grid; }
  const plan::DispatchPolicy& dispatch() const { return context_.dispatch; }
  std::size_t kv_cache_bytes() const { return cache_.allocated_bytes(); }

 private:
  void assign_blocks(const Step& step);
  void forward(const TokenBatch& batch, const HeadSink& sink);
  void see(std::int32_t layer, Operation operation, const BatchRows& rows);

  plan::Grid grid_;
  StageContext context_;
  ModelWeights weights_;
  RopeTable rope_;
  KvCache cache_;
  DecoderLayer layer_;
  Embedding embedding_;
  Head head_;
  comm::Outbox outbox_;
  AlignedBuffer x_;                        // fp32 (T, D): own rows of the residual stream
  std::vector<ops::RowContext> contexts_;  // of the group's rows
};

}  // namespace moesaic
