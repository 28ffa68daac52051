#pragma once

#include <functional>
#include <vector>

#include "comm/mpi.hpp"
#include "engine/engine.hpp"
#include "model/probe.hpp"

namespace moesaic {

/// Functions that `moesaic logits` gives: each gets what --hidden or --routing writes of one row, besides its logits.
struct CaptureSink {
  /// hidden: fp32 (D), the residual stream after the embedding (index 0) or after layer index - 1.
  std::function<void(std::int32_t sequence, std::int32_t position, std::int32_t index, std::span<const float> hidden)>
      hidden;
  /// experts, gates: (A), best first.
  std::function<void(std::int32_t sequence, std::int32_t position, std::int32_t layer,
                     std::span<const std::int32_t> experts, std::span<const float> gates)>
      routing;
};

/// Collects rows where they are owned and hands them to rank 0's sink after every step.
class Capture final : public Probe, public StepObserver {
 public:
  Capture(const comm::Communicator& world, bool hidden, bool routing, CaptureSink sink);

  void see(ProbePoint point, const TokenBatch& batch, Range rows, std::span<const float> values) override;
  void see_routing(ModelLayer layer, const TokenBatch& batch, Range rows, std::span<const std::int32_t> experts,
                   std::span<const float> gates) override;
  void after_step() override;

 private:
  struct Header {
    std::int32_t sequence, position, index;
    std::int32_t kind;        // of Kind
    std::int32_t num_values;  // words that follow
  };
  enum Kind : std::int32_t { kHidden, kRouting };
  void append(const Header& header, std::span<const std::byte> values);
  void hand_over(std::span<const std::byte> records) const;

  const comm::Communicator& world_;
  bool hidden_, routing_;
  CaptureSink sink_;
  std::vector<std::byte> records_;
};

/// Shows the same forward pass to several probes.
class Probes final : public Probe {
 public:
  void add(Probe* probe) { probes_.push_back(probe); }
  bool empty() const { return probes_.empty(); }
  void see(ProbePoint point, const TokenBatch& batch, Range rows, std::span<const float> values) override {
    for (Probe* probe : probes_) probe->see(point, batch, rows, values);
  }
  void see_routing(ModelLayer layer, const TokenBatch& batch, Range rows, std::span<const std::int32_t> experts,
                   std::span<const float> gates) override {
    for (Probe* probe : probes_) probe->see_routing(layer, batch, rows, experts, gates);
  }

 private:
  std::vector<Probe*> probes_;
};

}  // namespace moesaic
