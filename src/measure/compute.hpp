#pragma once

#include <memory>

#include "backend/backend.hpp"
#include "base/bytes.hpp"

namespace moesaic::measure {

/// A backend and a queue to measure kernels with, or to make numbers by them. Of the CPU: what is measured here lies in
/// the host's memory, and kernels have run when their calls return.
struct Compute {
  std::shared_ptr<backend::Backend> backend;
  std::shared_ptr<backend::Queue> queue;

  explicit Compute(std::shared_ptr<backend::Backend> of) : backend(std::move(of)), queue(backend->make_queue()) {}
  /// isa: as --isa says it.
  static Compute cpu(const std::string& isa, Numerics numerics) {
    return Compute(backend::open({"cpu", isa}, numerics));
  }

  Numerics numerics() const { return backend->numerics(); }
  const backend::Kernels& kernels() const { return backend->kernels(); }
};

/// An address of the host as kernels of the CPU backend take it.
template <class T>
backend::Ptr<T> at(T* host) {
  return backend::Ptr<T>(host);
}

}  // namespace moesaic::measure
