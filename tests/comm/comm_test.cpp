#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "backend/backend.hpp"
#include "comm/agree.hpp"
#include "comm/exchange.hpp"
#include "comm/mailbox.hpp"
#include "comm/wait.hpp"
#include "comm/wait_matrix.hpp"

namespace moesaic::comm {
namespace {

template <class T>
backend::Slice slice_of(T* host) {
  auto* const bytes = reinterpret_cast<std::byte*>(host);
  return {backend::Bytes(bytes), bytes};
}

TEST(Agree, EveryRankThrowsTheLowestRanksError) {
  const auto world = Communicator::world();
  EXPECT_NO_THROW(agree(world, std::nullopt));
  for (int culprit = 0; culprit < world.size(); ++culprit) {
    std::string message;
    try {
      together(world, [&] {
        if (world.rank() >= culprit) fail("weights.h5: no 'embed' on {}", world.rank());
      });
    } catch (const Error& error) {
      message = error.what();
    }
    const std::string text = fmt::format("weights.h5: no 'embed' on {}", culprit);
    EXPECT_EQ(message, culprit == 0 ? text : fmt::format("rank {}: {}", culprit, text));
  }
}

TEST(Agree, EveryRankThatDiffersIsNamed) {
  const auto world = Communicator::world();
  EXPECT_NO_THROW(require_same(world, "the build", "one"));
  std::string message;
  try {
    require_same(world, "the store", world.rank() % 2 == 0 ? "5 bytes" : fmt::format("{} bytes", 10 + world.rank()));
  } catch (const Error& error) {
    message = error.what();
  }
  std::string expected;
  for (int rank = 1; rank < world.size(); rank += 2)
    expected += fmt::format("{}rank {} on {} has '{} bytes', rank 0 on {} has '5 bytes'",
                            rank == 1 ? "the ranks differ in the store: " : "; ", rank,
                            hosts()[static_cast<std::size_t>(rank)], 10 + rank, hosts()[0]);
  EXPECT_EQ(message, expected);
}

TEST(Mailbox, MessagesMayLieFarApart) {
  const auto world = Communicator::world();
  // Buffers of their own, terabytes apart: memory mapped at will and the heap.
  constexpr std::size_t kSize = 1000;
  const auto byte = [](int source, int destination) { return static_cast<std::byte>(10 * source + destination); };
  const auto unmap = [](void* memory) { ::munmap(memory, kSize); };
  std::vector<std::unique_ptr<void, decltype(unmap)>> mapped;
  std::vector<std::vector<std::byte>> heap(static_cast<std::size_t>(world.size()));
  std::vector<std::byte> received(kSize * heap.size());
  for (const auto& mailbox : {make_pairwise_mailbox(world, 1), make_alltoallv_mailbox(world)}) {
    for (int peer = 0; peer < world.size(); ++peer) {
      if (peer == world.rank()) continue;
      heap[static_cast<std::size_t>(peer)].resize(kSize);
      std::byte* data = heap[static_cast<std::size_t>(peer)].data();
      if (peer % 2 == 1) {
        data =
            static_cast<std::byte*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        ASSERT_NE(static_cast<void*>(data), MAP_FAILED);
        mapped.emplace_back(data, unmap);
      }
      std::fill_n(data, kSize, byte(world.rank(), peer));
      mailbox->expect(peer, slice_of(received.data() + kSize * static_cast<std::size_t>(peer)), kSize);
      mailbox->send(peer, slice_of(data), kSize);
    }
    int num_arrived = 0;
    while (const auto arrival = mailbox->next()) {
      ++num_arrived;
      EXPECT_EQ(arrival->size_bytes, kSize);
      const auto* first = received.data() + kSize * static_cast<std::size_t>(arrival->source);
      EXPECT_EQ(std::count(first, first + kSize, byte(arrival->source, world.rank())), kSize);
    }
    EXPECT_EQ(num_arrived, world.size() - 1);
    mailbox->finish();
  }
}

TEST(WaitMatrix, NamesWhoIsWaitedFor) {
  const auto world = Communicator::world();
  if (world.size() == 1) return;
  count_waits();
  if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::string text = "late";
  world.broadcast(text, 1);
  const std::string matrix = wait_matrix(world);
  if (world.rank() != 0) return;
  double waited_s = 0;
  const std::size_t row = matrix.find("| 0 on ");
  ASSERT_NE(row, std::string::npos) << matrix;
  ASSERT_EQ(std::sscanf(matrix.c_str() + matrix.find('|', row + 1), "| %*f | %lf", &waited_s), 1) << matrix;
  EXPECT_GT(waited_s, 0.04) << matrix;
}

TEST(RowExchange, RaggedRowsArriveInOrder) {
  const auto world = Communicator::world();
  const auto backend = backend::open({}, Numerics::kF32);
  const auto queue = backend->make_queue();
  RowExchange exchange(world, *backend, *queue);
  const int ranks = world.size(), me = world.rank();
  const auto count = [&](int from, int to) { return (from + 2 * to) % 3; };  // some are zero
  for (const std::size_t words : {1u, 3u, 1000u}) {
    std::vector<std::int32_t> num_send, num_recv, send, expected;
    for (int peer = 0; peer < ranks; ++peer) {
      num_send.push_back(count(me, peer));
      num_recv.push_back(count(peer, me));
      for (std::size_t i = 0; i < static_cast<std::size_t>(count(me, peer)) * words; ++i)
        send.push_back(me * 1000000 + peer * 10000 + static_cast<int>(i));
      for (std::size_t i = 0; i < static_cast<std::size_t>(count(peer, me)) * words; ++i)
        expected.push_back(peer * 1000000 + me * 10000 + static_cast<int>(i));
    }
    std::vector<std::int32_t> recv(expected.size());
    exchange.all_to_all(slice_of(send.data()), num_send, slice_of(recv.data()), num_recv, words * sizeof(std::int32_t));
    EXPECT_EQ(recv, expected);
  }
}

TEST(RowExchange, GathersUnequalParts) {
  const auto world = Communicator::world();
  const auto backend = backend::open({}, Numerics::kF32);
  const auto queue = backend->make_queue();
  RowExchange exchange(world, *backend, *queue);
  std::vector<std::int32_t> num_rows, expected;
  for (int rank = 0; rank < world.size(); ++rank) {
    num_rows.push_back(rank % 2 == 0 ? rank : 0);
    for (int i = 0; i < num_rows.back(); ++i) expected.push_back(rank * 10 + i);
  }
  std::vector<std::int32_t> own;
  for (int i = 0; i < num_rows[static_cast<std::size_t>(world.rank())]; ++i) own.push_back(world.rank() * 10 + i);
  std::vector<std::int32_t> all(expected.size());
  exchange.all_gather(slice_of(own.data()), slice_of(all.data()), num_rows, sizeof(std::int32_t));
  EXPECT_EQ(all, expected);
}

TEST(Outbox, MessagesArriveInOrderAndMayBeEmpty) {
  const auto world = Communicator::world();
  const int next = (world.rank() + 1) % world.size(), previous = (world.rank() + world.size() - 1) % world.size();
  Outbox outbox(world);
  constexpr std::size_t kSizes[] = {5, 0, 3000000};
  for (std::size_t size : kSizes) {
    backend::Buffer bytes(backend::host_memory(), backend::Space::kHost, size);
    std::fill_n(bytes.host(), size, std::byte(world.rank()));
    outbox.post(std::move(bytes), size, next, 9);
  }
  for (std::size_t size : kSizes) {
    std::vector<std::byte> bytes(size);
    receive(world, bytes, previous, 9);
    EXPECT_EQ(bytes, std::vector<std::byte>(size, std::byte(previous)));
  }
}

TEST(Communicator, GatherAndBroadcastKeepSizes) {
  const auto world = Communicator::world();
  const std::string mine(static_cast<std::size_t>(world.rank()), 'x');
  const auto all = world.gather(std::as_bytes(std::span(mine)), 0);
  for (std::size_t rank = 0; rank < all.size(); ++rank) EXPECT_EQ(all[rank].size(), rank);
  std::string text = world.rank() == world.size() - 1 ? "from the last" : "";
  world.broadcast(text, world.size() - 1);
  EXPECT_EQ(text, "from the last");
}

}  // namespace
}  // namespace moesaic::comm
