#include "comm/mpi.hpp"

#include <numeric>
#include <utility>

#include "comm/wait.hpp"

namespace moesaic::comm {
namespace {

/// Collective: starts a nonblocking operation and waits for it.
template <class Start>
void complete(const Communicator& comm, const char* operation, Start&& start, const std::vector<int>* peers = nullptr) {
  MPI_Request request = MPI_REQUEST_NULL;
  start(&request);
  wait_for(request, {operation, peers, comm.world_ranks()});
}

template <class Resizable>
void broadcast_resizable(const Communicator& comm, Resizable& bytes, int root) {
  unsigned long long size = bytes.size();
  const std::vector<int> root_only = {comm.world_ranks()[static_cast<std::size_t>(root)]};
  const auto broadcast = [&](void* data, int count) {
    complete(
        comm, "broadcast",
        [&](MPI_Request* request) { MOESAIC_MPI(MPI_Ibcast(data, count, MPI_BYTE, root, comm.handle(), request)); },
        comm.rank() == root ? nullptr : &root_only);
  };
  broadcast(&size, sizeof size);
  bytes.resize(size);
  for_each_part(bytes.size(), [&](std::size_t offset, int count) { broadcast(bytes.data() + offset, count); });
}

/// The world ranks of a communicator's ranks.
std::vector<int> world_ranks_of(MPI_Comm comm, int size) {
  std::vector<int> ranks(static_cast<std::size_t>(size)), found(ranks.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  MPI_Group own = MPI_GROUP_NULL, world = MPI_GROUP_NULL;
  MOESAIC_MPI(MPI_Comm_group(comm, &own));
  MOESAIC_MPI(MPI_Comm_group(MPI_COMM_WORLD, &world));
  MOESAIC_MPI(MPI_Group_translate_ranks(own, size, ranks.data(), world, found.data()));
  MPI_Group_free(&own);
  MPI_Group_free(&world);
  return found;
}

}  // namespace

Communicator::Communicator(MPI_Comm comm, bool owned) : comm_(comm), owned_(owned) {
  MOESAIC_MPI(MPI_Comm_rank(comm, &rank_));
  MOESAIC_MPI(MPI_Comm_size(comm, &size_));
  world_ranks_ = world_ranks_of(comm, size_);
}

Communicator Communicator::world() { return {MPI_COMM_WORLD, false}; }
Communicator Communicator::self() { return {MPI_COMM_SELF, false}; }

Communicator::Communicator(Communicator&& other) noexcept
    : comm_(std::exchange(other.comm_, MPI_COMM_NULL)),
      owned_(std::exchange(other.owned_, false)),
      rank_(other.rank_),
      size_(other.size_),
      world_ranks_(std::move(other.world_ranks_)) {}

Communicator& Communicator::operator=(Communicator&& other) noexcept {
  std::swap(comm_, other.comm_);
  std::swap(owned_, other.owned_);
  std::swap(rank_, other.rank_);
  std::swap(size_, other.size_);
  std::swap(world_ranks_, other.world_ranks_);
  return *this;
}

Communicator::~Communicator() {
  if (owned_ && comm_ != MPI_COMM_NULL) MPI_Comm_free(&comm_);
}

Communicator Communicator::split(int color) const {
  barrier();  // a wait for a rank that does not come can be told, MPI_Comm_split cannot
  MPI_Comm part = MPI_COMM_NULL;
  blocking_call("MPI_Comm_split", [&] { MOESAIC_MPI(MPI_Comm_split(comm_, color, rank_, &part)); });
  return {part, true};
}

/// With one key for all, Open MPI finds the ranks of a node without asking them, so that ranks which MPI tells
/// different things (require_locality() in comm/locality.hpp) come back too.
Communicator Communicator::split_node() const {
  barrier();
  constexpr int kKey = 0;
  MPI_Comm part = MPI_COMM_NULL;
  blocking_call("MPI_Comm_split_type",
                [&] { MOESAIC_MPI(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, kKey, MPI_INFO_NULL, &part)); });
  return {part, true};
}

void Communicator::progress() const {
  constexpr int kNoTag = 0;  // of no message
  int flag = 0;
  MOESAIC_MPI(MPI_Iprobe(MPI_ANY_SOURCE, kNoTag, comm_, &flag, MPI_STATUS_IGNORE));
}

void Communicator::barrier() const {
  complete(*this, "barrier", [&](MPI_Request* request) { MOESAIC_MPI(MPI_Ibarrier(comm_, request)); });
}

void Communicator::broadcast(std::vector<std::byte>& bytes, int root) const { broadcast_resizable(*this, bytes, root); }

void Communicator::broadcast(std::string& text, int root) const { broadcast_resizable(*this, text, root); }

std::vector<std::vector<std::byte>> Communicator::gather(std::span<const std::byte> bytes, int root) const {
  const unsigned long long size = bytes.size();
  std::vector<unsigned long long> sizes(static_cast<std::size_t>(rank_ == root ? size_ : 0));
  complete(*this, "gather", [&](MPI_Request* request) {
    MOESAIC_MPI(
        MPI_Igather(&size, 1, MPI_UNSIGNED_LONG_LONG, sizes.data(), 1, MPI_UNSIGNED_LONG_LONG, root, comm_, request));
  });
  constexpr int kTag = 1;
  if (rank_ != root) {
    send(*this, bytes, root, kTag);
    return {};
  }
  std::vector<std::vector<std::byte>> all(static_cast<std::size_t>(size_));
  for (int source = 0; source < size_; ++source) {
    auto& into = all[static_cast<std::size_t>(source)];
    into.resize(sizes[static_cast<std::size_t>(source)]);
    if (source == rank_)
      into.assign(bytes.begin(), bytes.end());
    else
      receive(*this, into, source, kTag);
  }
  return all;
}

void Communicator::reduce(std::span<double> values, MPI_Op op) const {
  complete(*this, "reduction", [&](MPI_Request* request) {
    MOESAIC_MPI(
        MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_DOUBLE, op, comm_, request));
  });
}

void Communicator::bitwise_or(std::span<std::uint8_t> values) const {
  complete(*this, "reduction", [&](MPI_Request* request) {
    MOESAIC_MPI(MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_UINT8_T, MPI_BOR,
                               comm_, request));
  });
}

double Communicator::max(double value) const { return reduce({&value, 1}, MPI_MAX), value; }
double Communicator::min(double value) const { return reduce({&value, 1}, MPI_MIN), value; }
double Communicator::sum(double value) const { return reduce({&value, 1}, MPI_SUM), value; }

void send(const Communicator& comm, std::span<const std::byte> bytes, int destination, int tag) {
  const std::vector<int> peer = {comm.world_ranks()[static_cast<std::size_t>(destination)]};
  for_each_part(bytes.size(), [&](std::size_t offset, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    MOESAIC_MPI(MPI_Isend(bytes.data() + offset, count, MPI_BYTE, destination, tag, comm.handle(), &request));
    wait_for(request, {"delivery", &peer, comm.world_ranks()});
  });
}

void receive(const Communicator& comm, std::span<std::byte> bytes, int source, int tag) {
  const std::vector<int> peer = {comm.world_ranks()[static_cast<std::size_t>(source)]};
  for_each_part(bytes.size(), [&](std::size_t offset, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    MOESAIC_MPI(MPI_Irecv(bytes.data() + offset, count, MPI_BYTE, source, tag, comm.handle(), &request));
    wait_for(request, {"a message", &peer, comm.world_ranks()});
  });
}

}  // namespace moesaic::comm
