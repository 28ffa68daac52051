#include "comm/mailbox.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/aligned_buffer.hpp"
#include "comm/wait.hpp"

namespace moesaic::comm {
namespace {

/// MPI's counts are int.
int count_of(std::size_t size_bytes) {
  MOESAIC_CHECK(size_bytes <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
                "a message of {} bytes; a smaller --prefill-chunk makes smaller ones", size_bytes);
  return static_cast<int>(size_bytes);
}

/// What MPI reads and writes.
std::byte* host_view(const backend::Slice& slice) {
  MOESAIC_CHECK(slice.host, "a message out of the host's reach");
  return slice.host;
}

class PairwiseMailbox final : public Mailbox {
 public:
  PairwiseMailbox(const Communicator& comm, int tag)
      : comm_(comm),
        tag_(tag),
        slots_(static_cast<std::size_t>(comm.size())),
        receives_(slots_.size(), MPI_REQUEST_NULL),
        indices_(slots_.size()),
        statuses_(slots_.size()) {}

  ~PairwiseMailbox() override {
    for (MPI_Request& request : receives_)
      if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  }

  void expect(int source, const backend::Slice& slice, std::size_t most_bytes) override {
    std::byte* const into = host_view(slice);
    const auto i = static_cast<std::size_t>(source);
    Slot& slot = slots_[i];
    MPI_Request& request = receives_[i];
    if (request == MPI_REQUEST_NULL || slot.into != into || slot.most_bytes != most_bytes) {
      if (request != MPI_REQUEST_NULL) MOESAIC_MPI(MPI_Request_free(&request));
      MOESAIC_MPI(MPI_Recv_init(into, count_of(most_bytes), MPI_BYTE, source, tag_, comm_.handle(), &request));
      slot = {into, most_bytes};
    }
    MOESAIC_MPI(MPI_Start(&request));
    missing_.push_back(comm_.world_ranks()[i]);
    ++num_awaited_;
  }

  void send(int destination, const backend::Slice& data, std::size_t size_bytes) override {
    MOESAIC_MPI(MPI_Isend(host_view(data), count_of(size_bytes), MPI_BYTE, destination, tag_, comm_.handle(),
                          &sends_.emplace_back()));
    const int peer = comm_.world_ranks()[static_cast<std::size_t>(destination)];
    receivers_.push_back(peer);
    traffic().add(peer, size_bytes);
  }

  std::optional<Arrival> next(bool may_wait) override {
    if (arrived_.empty() && !missing_.empty()) {
      if (may_wait)
        wait_until({"messages", &missing_, comm_.world_ranks(), num_awaited_}, [&] { return test(); });
      else
        test();
    }
    if (arrived_.empty()) return std::nullopt;
    const Arrival arrival = arrived_.back();
    arrived_.pop_back();
    return arrival;
  }

  int num_expected() const override { return static_cast<int>(missing_.size()); }

  void finish() override {
    num_awaited_ = 0;
    if (sends_.empty()) return;
    wait_until({"delivery", &receivers_, comm_.world_ranks()}, [&] {
      int done = 0;
      MOESAIC_MPI(MPI_Testall(static_cast<int>(sends_.size()), sends_.data(), &done, MPI_STATUSES_IGNORE));
      return done != 0;
    });
    sends_.clear();
    receivers_.clear();
  }

 private:
  struct Slot {
    std::byte* into = nullptr;
    std::size_t most_bytes = 0;
  };

  bool test() {
    int num = 0;
    MOESAIC_MPI(
        MPI_Testsome(static_cast<int>(receives_.size()), receives_.data(), &num, indices_.data(), statuses_.data()));
    if (num == MPI_UNDEFINED) num = 0;
    for (int k = 0; k < num; ++k) {
      const int source = indices_[static_cast<std::size_t>(k)];
      int size = 0;
      MOESAIC_MPI(MPI_Get_count(&statuses_[static_cast<std::size_t>(k)], MPI_BYTE, &size));
      arrived_.push_back({source, static_cast<std::size_t>(size)});
      std::erase(missing_, comm_.world_ranks()[static_cast<std::size_t>(source)]);
    }
    return num > 0;
  }

  const Communicator& comm_;
  int tag_;
  std::vector<Slot> slots_;            // place of the message of each source
  std::vector<MPI_Request> receives_;  // persistent request for the message of each source
  std::vector<MPI_Request> sends_;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
  std::vector<Arrival> arrived_;
  std::vector<int> missing_, receivers_;  // world ranks
  int num_awaited_ = 0;                   // messages of this round
};

class AlltoallvMailbox final : public Mailbox {
 public:
  explicit AlltoallvMailbox(const Communicator& comm)
      : comm_(comm), to_(static_cast<std::size_t>(comm.size())), from_(to_.size()), sizes_(2 * to_.size()) {}

  void expect(int source, const backend::Slice& into, std::size_t) override {
    from_[static_cast<std::size_t>(source)].data = host_view(into);
    ++num_expected_;
  }

  void send(int destination, const backend::Slice& data, std::size_t size_bytes) override {
    to_[static_cast<std::size_t>(destination)] = {host_view(data), count_of(size_bytes)};
    traffic().add(comm_.world_ranks()[static_cast<std::size_t>(destination)], size_bytes);
  }

  std::optional<Arrival> next(bool may_wait) override {
    if (!may_wait && !exchanged_) return std::nullopt;
    if (!exchanged_) exchange();
    for (; given_out_ < from_.size(); ++given_out_) {
      if (!from_[given_out_].data) continue;
      --num_expected_;
      const auto source = given_out_++;
      return Arrival{static_cast<int>(source), static_cast<std::size_t>(from_[source].size)};
    }
    return std::nullopt;
  }

  int num_expected() const override { return num_expected_; }

  void finish() override {
    if (!exchanged_) exchange();
    std::fill(to_.begin(), to_.end(), Part{});
    std::fill(from_.begin(), from_.end(), Part{});
    given_out_ = 0;
    num_expected_ = 0;
    exchanged_ = false;
  }

 private:
  struct Part {
    std::byte* data = nullptr;
    int size = 0;
  };

  void exchange() {
    const std::size_t ranks = to_.size();
    for (std::size_t i = 0; i < ranks; ++i) sizes_[i] = to_[i].size;
    MPI_Request request = MPI_REQUEST_NULL;
    MOESAIC_MPI(MPI_Ialltoall(sizes_.data(), 1, MPI_INT, sizes_.data() + ranks, 1, MPI_INT, comm_.handle(), &request));
    wait_for(request, {"MPI_Alltoall of sizes", nullptr, comm_.world_ranks()});
    for (std::size_t i = 0; i < ranks; ++i) from_[i].size = sizes_[ranks + i];
    bring_together();
    const Window out(to_), in(from_);
    MOESAIC_MPI(MPI_Ialltoallv(out.base, out.counts.data(), out.offsets.data(), MPI_BYTE, in.base, in.counts.data(),
                               in.offsets.data(), MPI_BYTE, comm_.handle(), &request));
    wait_for(request, {"MPI_Alltoallv", nullptr, comm_.world_ranks()});
    exchanged_ = true;
  }

  /// Parts to send that lie further apart than MPI's int offsets reach (buffers of their own) are copied side by side.
  void bring_together() {
    const std::byte *lowest = nullptr, *highest = nullptr;
    std::size_t size_bytes = 0;
    for (const Part& part : to_) {
      if (!part.data) continue;
      if (!lowest || part.data < lowest) lowest = part.data;
      highest = std::max<const std::byte*>(highest, part.data);
      size_bytes += static_cast<std::size_t>(part.size);
    }
    if (highest - lowest <= std::numeric_limits<int>::max()) return;
    together_.reserve(size_bytes);
    std::byte* into = together_.data();
    for (Part& part : to_) {
      if (!part.data) continue;
      std::memcpy(into, part.data, static_cast<std::size_t>(part.size));
      part.data = into;
      into += part.size;
    }
  }

  /// Parts as the call wants them: offsets from the lowest address.
  struct Window {
    explicit Window(const std::vector<Part>& parts) : counts(parts.size()), offsets(parts.size()) {
      for (const Part& part : parts)
        if (part.data && (!base || part.data < base)) base = part.data;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        counts[i] = parts[i].size;
        if (parts[i].data) offsets[i] = count_of(static_cast<std::size_t>(parts[i].data - base));
      }
    }
    std::byte* base = nullptr;
    std::vector<int> counts, offsets;
  };

  const Communicator& comm_;
  std::vector<Part> to_, from_;  // where the message to or from each rank lies
  std::vector<int> sizes_;       // sent, then received
  AlignedBuffer together_;       // parts to send that lay far apart
  std::size_t given_out_ = 0;    // ranks of from_ that next() has passed
  int num_expected_ = 0;
  bool exchanged_ = false;
};

}  // namespace

std::unique_ptr<Mailbox> make_pairwise_mailbox(const Communicator& comm, int tag) {
  return std::make_unique<PairwiseMailbox>(comm, tag);
}

std::unique_ptr<Mailbox> make_alltoallv_mailbox(const Communicator& comm) {
  return std::make_unique<AlltoallvMailbox>(comm);
}

void Traffic::add(int world_rank, std::size_t size_bytes) {
  const auto i = static_cast<std::size_t>(world_rank);
  if (i >= bytes.size()) {
    bytes.resize(i + 1);
    messages.resize(i + 1);
  }
  bytes[i] += size_bytes;
  ++messages[i];
}

Traffic& traffic() {
  static Traffic traffic;
  return traffic;
}

}  // namespace moesaic::comm
