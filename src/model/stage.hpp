#pragma once

#include <array>
#include <memory>
#include <span>

#include "model/decoder_layer.hpp"
#include "model/head.hpp"

namespace moesaic {

/// One rank's part of the model: its stage's layers, and the embedding and head where the stage is the first or the
/// last.
class Stage {
 public:
  /// Collective over the world. weights: what load_weights gave for this rank.
  Stage(const comm::Communicator& world, const plan::Grid& grid, std::shared_ptr<backend::Backend> backend,
        ModelWeights weights, const plan::DispatchRequest& dispatch = {});

  /// Runs a step's micro-batches through the pipeline, several in flight and some side
  /// by side; on world rank 0 the wanted logits and
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
  void forward(std::span<const TokenBatch> batches, const HeadSink& sink);
  void begin(Lane& lane, const TokenBatch& batch);
  void pass_layers(std::span<Lane> lanes);
  void end(Lane& lane, const HeadSink& sink);

  plan::Grid grid_;
  std::shared_ptr<backend::Backend> backend_;
  std::unique_ptr<backend::Queue> queue_;
  StageContext context_;
  ModelWeights weights_;
  RopeTable rope_;
  KvCache cache_;
  std::array<Lane, kMostSideBySide> lanes_;
  DecoderLayer layer_;
  Embedding embedding_;
  Head head_;
  comm::Outbox outbox_;
  backend::Buffer handed_over_;  // fp32 (T, D): rows that come from the stage before
};

}  // namespace moesaic
