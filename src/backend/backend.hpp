#pragma once

#include <memory>
#include <string>

#include "backend/kernels.hpp"
#include "backend/matrix.hpp"
#include "backend/memory.hpp"
#include "backend/queue.hpp"

namespace moesaic::backend {

/// What computes: memory, queues and kernels of one numeric mode. Buffers, queues and packed matrices end before it.
class Backend : public Memory {
 public:
  virtual Numerics numerics() const = 0;
  virtual const Kernels& kernels() const = 0;
  /// For people; of the CPU the instruction path.
  virtual std::string name() const = 0;
  virtual std::unique_ptr<Queue> make_queue() = 0;
  virtual Packer& packer() = 0;
  /// Memory of a rank's weights, of which each page has been touched and lies well for all threads.
  virtual Buffer allocate_weights(std::size_t size_bytes) = 0;
};

/// What is asked for, as options say it.
struct BackendOptions {
  std::string backend = "cpu";  ///< cpu, or deferred (of tests)
  std::string isa = "auto";     ///< kIsaOptions; of the CPU's kernels
};
extern const char* const kIsaOptions;

/// Opens a backend. Error on an unknown name, or one that this machine cannot run.
std::shared_ptr<Backend> open(const BackendOptions& options, Numerics numerics);

}  // namespace moesaic::backend
