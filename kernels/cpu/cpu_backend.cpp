#include "cpu_backend.hpp"

#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"
#include "base/units.hpp"
#include "host/binding.hpp"
#include "pack.hpp"
#include "tables.hpp"

namespace moesaic::cpu {
namespace {

using backend::Allocation;
using backend::Buffer;
using backend::Bytes;
using backend::ConstBytes;
using backend::Event;
using backend::Matrix;
using backend::MatrixShape;
using backend::Space;

/// Kernels run in their calls, so there is nothing to wait for and the host's values are arguments where they lie.
class CpuQueue final : public backend::Queue {
 public:
  void copy(Bytes to, ConstBytes from, std::size_t size_bytes) override {
    if (size_bytes > 0) std::memcpy(to.address(), from.address(), size_bytes);
  }
  void clear(Bytes to, std::size_t size_bytes) override { std::memset(to.address(), 0, size_bytes); }
  Event record() override { return {}; }
  void wait(Event) override {}

 private:
  const std::byte* keep(std::span<const std::byte> bytes) override { return bytes.data(); }
};

class CpuPacker final : public backend::Packer {
 public:
  std::size_t size_bytes(const MatrixShape& shape) const override { return aligned(PanelLayout(shape).total_bytes()); }
  void begin(const Matrix& w) override { begin_packing(PanelLayout(w.shape), w.data.address()); }
  void pack(const Matrix& w, const backend::PackBlock& block, const std::byte* source) override {
    cpu::pack(PanelLayout(w.shape), block, source, w.data.address());
  }
  void pack_scales(const Matrix& w, const backend::PackScales& block, const std::byte* source) override {
    cpu::pack_scales(PanelLayout(w.shape), block, source, w.data.address());
  }
  void set_scales(const Matrix& w, std::int64_t leaf, std::int64_t first_column,
                  std::span<const float> scales) override {
    std::copy(scales.begin(), scales.end(), PackedMatrix(w).scales(leaf) + first_column);
  }
  void pack_rows(const Matrix& w, std::int64_t first_column, std::int64_t num_rows, const float* rows) override {
    cpu::pack_rows(PanelLayout(w.shape), first_column, num_rows, rows, w.data.address());
  }
  void clear_padding(const Matrix& w) override {
    const PackedMatrix packed(w);
    cpu::clear_padding(packed.shape, packed.data);
    if (!packed.shape.has_scales()) return;
    for (std::int64_t leaf = 0; leaf < packed.shape.num_leaves; ++leaf)
      std::fill(packed.scales(leaf) + packed.shape.num_columns, packed.scales(leaf) + packed.shape.padded_columns(),
                0.0f);
  }
  void store(Bytes to, std::span<const std::byte> from) override { std::copy(from.begin(), from.end(), to.address()); }
};

class CpuBackend final : public backend::Backend {
 public:
  CpuBackend(Isa isa, Numerics numerics) : isa_(isa), numerics_(numerics) {}

  Numerics numerics() const override { return numerics_; }
  const backend::Kernels& kernels() const override { return table(isa_, numerics_); }
  std::string name() const override { return std::string(cpu::name(isa_)); }
  std::unique_ptr<backend::Queue> make_queue() override { return std::make_unique<CpuQueue>(); }
  backend::Packer& packer() override { return packer_; }

  Allocation allocate(Space space, std::size_t size_bytes) override {
    return backend::host_memory().allocate(space, size_bytes);
  }
  void release(const Allocation& allocation) noexcept override { backend::host_memory().release(allocation); }
  Bytes adopt(std::span<std::byte> host) override { return Bytes(host.data()); }

  /// Panels are handed out to whichever thread is free. So a page's place among several NUMA domains cannot follow the
  /// thread that will read it, and all domains' memory should be busy at the same time. In one domain, first touch
  /// suffices. The system clears a page when it is first written to: were that left to the loader, several threads
  /// would clear one huge page at the same time, all but one in vain.
  Buffer allocate_weights(std::size_t size_bytes) override {
    Buffer memory(*this, Space::kHost, size_bytes);
    std::byte* const data = memory.host();
    if (size_bytes >= kHugePage_bytes) host::spread_over_domains({data, size_bytes});
    const auto page = static_cast<std::int64_t>(kHugePage_bytes), size = static_cast<std::int64_t>(size_bytes);
    parallel_for((size + page - 1) / page, [&](std::int64_t i) { data[i * page] = std::byte{0}; });
    return memory;
  }

 private:
  const Isa isa_;
  const Numerics numerics_;
  CpuPacker packer_;
};

}  // namespace

std::shared_ptr<backend::Backend> open_cpu(Isa isa, Numerics numerics) {
  if (!supported(isa)) fail("instruction path {} does not run on this processor", name(isa));
  return std::make_shared<CpuBackend>(isa, numerics);
}

}  // namespace moesaic::cpu
