#include "base/aligned_buffer.hpp"

#include <sys/mman.h>

#include <cstdlib>

#include "base/out_of_memory.hpp"

namespace moesaic {
namespace {
constexpr std::size_t kCacheLine_bytes = 64;
}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t size_bytes) : size_bytes_(size_bytes) {
  if (size_bytes == 0) return;
  const std::size_t alignment = size_bytes < kHugePage_bytes ? kCacheLine_bytes : kHugePage_bytes;
  const std::size_t rounded = (size_bytes + alignment - 1) / alignment * alignment;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (!data) throw OutOfMemory(rounded);
  // Advice only: without huge pages the program is slower, not wrong.
  if (alignment == kHugePage_bytes) (void)madvise(data, rounded, MADV_HUGEPAGE);
  data_.reset(data);
}

void AlignedBuffer::reserve(std::size_t size_bytes) {
  if (size_bytes > size_bytes_) *this = AlignedBuffer(size_bytes);
}

void AlignedBuffer::free(std::byte* released) { std::free(released); }

}  // namespace moesaic
