#include "backend/backend.hpp"
#include "base/error.hpp"
#include "cpu/cpu_backend.hpp"
#include "deferred/deferred_backend.hpp"

namespace moesaic::backend {

const char* const kIsaOptions = "auto, avx512, avx2 or portable";

std::shared_ptr<Backend> open(const BackendOptions& options, Numerics numerics) {
  const auto cpu = [&] { return cpu::open_cpu(cpu::isa_from_option(options.isa), numerics); };
  if (options.backend == "cpu") return cpu();
  if (options.backend == "deferred") return deferred::open_deferred(cpu());
  fail("backend {} is unknown; choose cpu or deferred (of tests)", options.backend);
}

}  // namespace moesaic::backend
