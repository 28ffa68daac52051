#include "deferred_backend.hpp"

#include <type_traits>
#include <vector>

#include "late_memory.hpp"
#include "timeline.hpp"

namespace moesaic::deferred {
namespace {

using backend::Allocation;
using backend::Buffer;
using backend::Bytes;
using backend::ConstBytes;
using backend::Event;
using backend::Kernels;
using backend::Ptr;
using backend::Queue;
using backend::Space;

// Addresses in an argument of a kernel. An address in a table of addresses is announced by Queue::argument().
template <class T, class Visit>
void visit_addresses(Ptr<T> ptr, Visit&& visit) {
  visit(ptr.address());
}
template <class Visit>
void visit_addresses(const backend::Groups& groups, Visit&& visit) {
  visit(groups.psum_rows.address());
}
template <class Visit>
void visit_addresses(const backend::RoutedRows& routed, Visit&& visit) {
  visit(routed.experts.address());
  visit(routed.gates.address());
  visit(routed.ascending_experts.address());
  visit(routed.ascending_gates.address());
}
template <class Visit>
void visit_addresses(const backend::PiecesOfRows& pieces, Visit&& visit) {
  visit(pieces.experts.address());
  visit(pieces.gates.address());
}
/// Arguments without an address that the host may touch: weights are never the host's again once they are packed.
template <class Argument>
inline constexpr bool kHasNoAddress =
    std::is_arithmetic_v<Argument> || std::is_same_v<Argument, backend::Matrix> ||
    std::is_same_v<Argument, std::span<const backend::Matrix>> || std::is_same_v<Argument, backend::SumTree> ||
    std::is_same_v<Argument, backend::AttentionShape> || std::is_same_v<Argument, backend::RouterShape> ||
    std::is_same_v<Argument, NumericSetting>;
/// Those whose addresses Queue::argument() gave.
template <class Argument>
inline constexpr bool kIsAnnounced =
    std::is_same_v<Argument, backend::PageTable> || std::is_same_v<Argument, backend::TreeList>;
template <class Argument, class Visit>
void visit_addresses(const Argument&, Visit&&) {
  static_assert(kHasNoAddress<Argument> || kIsAnnounced<Argument>, "say which addresses this argument has");
}

/// What the queues of a backend have in common.
struct Late {
  explicit Late(std::shared_ptr<backend::Backend> of) : inner(std::move(of)) {}

  std::shared_ptr<backend::Backend> inner;
  LateMemory memory;
  std::unique_ptr<Queue> queue = inner->make_queue();  ///< of the thread that runs kernels
  Timeline timeline;                                   // last: what it does uses the rest
};

class LateQueue final : public Queue {
 public:
  explicit LateQueue(Late& late) : late_(late) {}

  void copy(Bytes to, ConstBytes from, std::size_t size_bytes) override {
    launch([this, to, from, size_bytes] { late_.queue->copy(to, from, size_bytes); }, to, from);
  }
  void clear(Bytes to, std::size_t size_bytes) override {
    launch([this, to, size_bytes] { late_.queue->clear(to, size_bytes); }, to);
  }
  Event record() override { return {late_.timeline.last()}; }
  void wait(Event event) override {
    late_.timeline.wait(event.number);
    late_.memory.unlock(event.number);
    if (event.number == late_.timeline.last()) arguments_.clear();
  }

  /// Puts a kernel off and locks what it gets.
  template <class Work, class... Args>
  void launch(Work&& work, const Args&... args) {
    const std::uint64_t number = late_.timeline.add(std::forward<Work>(work));
    const auto lock = [&](const void* address) { late_.memory.lock(address, number); };
    (visit_addresses(args, lock), ...);
    for (const void* address : announced_) lock(address);
    announced_.clear();
  }

  Late& late() const { return late_; }

 private:
  const std::byte* keep(std::span<const std::byte> bytes) override {
    return arguments_.emplace_back(bytes.begin(), bytes.end()).data();
  }
  void will_use(const void* address) override { announced_.push_back(address); }

  Late& late_;
  std::vector<std::vector<std::byte>> arguments_;  // kept until a wait for all that was launched
  std::vector<const void*> announced_;
};

/// A kernel that is put off; its arguments are kept by value.
template <auto kernel>
struct PutOff;
template <class... Args, void (*Kernels::*kernel)(Queue&, Args...)>
struct PutOff<kernel> {
  static void call(Queue& queue, Args... args) {
    auto& own = static_cast<LateQueue&>(queue);
    Late& late = own.late();
    own.launch([&late, args...] { (late.inner->kernels().*kernel)(*late.queue, args...); }, args...);
  }
};

constexpr Kernels kPutOff = {
    .rms_norm = PutOff<&Kernels::rms_norm>::call,
    .to_input = PutOff<&Kernels::to_input>::call,
    .to_activation = PutOff<&Kernels::to_activation>::call,
    .add = PutOff<&Kernels::add>::call,
    .scale = PutOff<&Kernels::scale>::call,
    .gather_rows = PutOff<&Kernels::gather_rows>::call,
    .finish_tree = PutOff<&Kernels::finish_tree>::call,
    .gemm = PutOff<&Kernels::gemm>::call,
    .grouped_gemm = PutOff<&Kernels::grouped_gemm>::call,
    .grouped_gated_gelu = PutOff<&Kernels::grouped_gated_gelu>::call,
    .rope = PutOff<&Kernels::rope>::call,
    .write_kv = PutOff<&Kernels::write_kv>::call,
    .attention = PutOff<&Kernels::attention>::call,
    .route = PutOff<&Kernels::route>::call,
    .encode_rows = PutOff<&Kernels::encode_rows>::call,
    .permute = PutOff<&Kernels::permute>::call,
    .write_pieces = PutOff<&Kernels::write_pieces>::call,
    .combine_rows = PutOff<&Kernels::combine_rows>::call,
    .gather_columns = PutOff<&Kernels::gather_columns>::call,
    .scatter_activations = PutOff<&Kernels::scatter_activations>::call,
    .block_sums = PutOff<&Kernels::block_sums>::call,
};

class DeferredBackend final : public backend::Backend {
 public:
  explicit DeferredBackend(std::shared_ptr<backend::Backend> inner) : late_(std::move(inner)) {}

  Numerics numerics() const override { return late_.inner->numerics(); }
  const Kernels& kernels() const override { return kPutOff; }
  std::string name() const override { return "deferred " + late_.inner->name(); }
  std::unique_ptr<Queue> make_queue() override { return std::make_unique<LateQueue>(late_); }
  backend::Packer& packer() override { return late_.inner->packer(); }

  Allocation allocate(Space space, std::size_t size_bytes) override { return late_.memory.allocate(space, size_bytes); }
  void release(const Allocation& allocation) noexcept override {
    late_.timeline.add([this, allocation] { late_.memory.free(allocation); });
  }
  Bytes adopt(std::span<std::byte> host) override { return Bytes(host.data()); }
  Buffer allocate_weights(std::size_t size_bytes) override { return {*this, Space::kDevice, size_bytes}; }

 private:
  Late late_;
};

}  // namespace

std::shared_ptr<backend::Backend> open_deferred(std::shared_ptr<backend::Backend> inner) {
  return std::make_shared<DeferredBackend>(std::move(inner));
}

}  // namespace moesaic::deferred
