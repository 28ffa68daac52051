#include "backend/memory.hpp"

#include "base/aligned_buffer.hpp"

namespace moesaic::backend {
namespace {

class HostMemory final : public Memory {
 public:
  Allocation allocate(Space, std::size_t size_bytes) override {
    std::byte* data = AlignedBuffer(size_bytes).release();
    return {{Bytes(data), data}, size_bytes, Space::kHost};
  }
  void release(const Allocation& allocation) noexcept override { AlignedBuffer::free(allocation.bytes.host); }
  Bytes adopt(std::span<std::byte> host) override { return Bytes(host.data()); }
};

}  // namespace

Memory& host_memory() {
  static HostMemory memory;
  return memory;
}

}  // namespace moesaic::backend
