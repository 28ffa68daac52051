#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/kernels.hpp"
#include "backend/memory.hpp"

namespace moesaic::moe {

/// A routing as the host makes or keeps it, of rows (T) with A experts each and their gates: softmax probabilities over
/// all E, not renormalised.
struct HostRouting {
  std::vector<std::int32_t> experts;            ///< (T, A) best first; equal logits: the lower index first
  std::vector<float> gates;                     ///< (T, A) of the same experts
  std::vector<std::int32_t> ascending_experts;  ///< (T, A) the same experts by ascending index
  std::vector<float> ascending_gates;           ///< (T, A)
};

/// The router's choice for a rank's own rows, as in HostRouting, where kernels have put it. The host may read it after
/// a wait.
class Routing {
 public:
  explicit Routing(backend::Memory& memory) : memory_(memory, backend::Space::kPinned) {}

  /// For num_choices = T A choices; what was there is lost.
  void resize(std::int64_t num_choices) {
    num_choices_ = num_choices;
    memory_.reserve_elems<float>(4 * num_choices);
  }
  /// Copies a routing of the host.
  void assign(const HostRouting& routing) {
    resize(std::ssize(routing.experts));
    std::copy(routing.experts.begin(), routing.experts.end(), part<std::int32_t>(0));
    std::copy(routing.gates.begin(), routing.gates.end(), part<float>(1));
    std::copy(routing.ascending_experts.begin(), routing.ascending_experts.end(), part<std::int32_t>(2));
    std::copy(routing.ascending_gates.begin(), routing.ascending_gates.end(), part<float>(3));
  }

  backend::RoutedRows rows() const {
    const auto ids = memory_.as<std::int32_t>();
    const auto gates = memory_.as<float>();
    return {ids, gates + num_choices_, ids + 2 * num_choices_, gates + 3 * num_choices_};
  }
  std::span<const std::int32_t> experts() const { return host<std::int32_t>(0); }
  std::span<const float> gates() const { return host<float>(1); }
  std::span<const std::int32_t> ascending_experts() const { return host<std::int32_t>(2); }

 private:
  template <class T>
  T* part(std::int64_t i) const {
    return memory_.host<T>() + i * num_choices_;
  }
  template <class T>
  std::span<const T> host(std::int64_t i) const {
    return {part<T>(i), static_cast<std::size_t>(num_choices_)};
  }

  std::int64_t num_choices_ = 0;
  backend::Buffer memory_;  // the four lists of HostRouting, one behind the other
};

}  // namespace moesaic::moe
