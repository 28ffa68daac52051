#pragma once

#include <memory>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "comm/mailbox.hpp"
#include "measure/dispatch_job.hpp"

namespace moesaic::measure {

/// How an owner adds up what comes back.
enum class SumOrder : std::uint8_t {
  kTree,     ///< when all pieces are there, in the fixed trees: what a layer does
  kArrival,  ///< a holder's pieces as soon as they are there, its own first: other bits from run to run
};

/// Combine by itself: pieces of the steps' rows, as `flat` sends them, from their holders to the rows' owners, who add
/// them up in either order. What the fixed order costs is the difference: the messages are the same.
class SumOrders {
 public:
  explicit SumOrders(const DispatchJob& job);
  ~SumOrders();

  /// Collective: microseconds of the slowest rank, from the first send to the last sum.
  double time_us(SumOrder order, std::size_t step);
  /// Collective: whether both orders give the same sums but for rounding.
  bool agree(std::size_t step);

 private:
  struct Own;  // what this rank sends, gets and adds up in a step
  void run(SumOrder order, Own& own);
  void add_stream(Own& own, int holder);

  const DispatchJob& job_;
  const plan::DispatchSetting setting_;
  const int me_;
  const std::unique_ptr<comm::Mailbox> mail_;
  std::vector<Own> own_;
  AlignedBuffer pieces_;  // the pieces of one holder, as many as any stream has
};

}  // namespace moesaic::measure
