#include "comm/diagnosis.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moesaic::comm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Report waiting(int rank, std::vector<int> peers, double waited_s = 2, std::int64_t step = 7) {
  Report report;
  report.rank = rank;
  report.step = step;
  report.waits = true;
  report.waited_s = waited_s;
  report.timeout_s = 2;
  report.for_any = peers.empty();
  report.num_peers = static_cast<int>(peers.size());
  std::copy(peers.begin(), peers.end(), report.peers.begin());
  put_text(report.operation, "messages");
  put_text(report.host, "n0");
  return report;
}

TEST(Diagnosis, TheEndOfAChainOfWaitsIsTheCulprit) {
  const Culprits found = culprits({waiting(0, {1}), waiting(1, {2}), std::nullopt, waiting(3, {0, 2})});
  EXPECT_THAT(found.ranks, ElementsAre(2));
  EXPECT_EQ(found.reason, "no answer, and rank 1, 3 wait for 2");
}

TEST(Diagnosis, SilentRanksInACollectiveAreAllNamed) {
  EXPECT_THAT(culprits({waiting(0, {}), std::nullopt, waiting(2, {}), std::nullopt}).ranks, ElementsAre(1, 3));
  EXPECT_THAT(culprits({waiting(0, {}), std::nullopt, waiting(2, {3}), std::nullopt}).ranks, ElementsAre(3));
}

TEST(Diagnosis, AFailedCallComesBeforeWhoWaits) {
  Report failed = waiting(1, {});
  put_text(failed.error, "MPI_Test failed");
  EXPECT_THAT(culprits({waiting(0, {1}), failed}).ranks, ElementsAre(1));
}

TEST(Diagnosis, WhoCameLastOrIsAStepBehind) {
  EXPECT_THAT(culprits({waiting(0, {1}), waiting(1, {2}), waiting(2, {0}, 0.1)}).ranks, ElementsAre(2));
  EXPECT_THAT(culprits({waiting(0, {1}), waiting(1, {2}, 2, 6), waiting(2, {0})}).ranks, ElementsAre(1));
  EXPECT_THAT(culprits({waiting(0, {1}), waiting(1, {2}), waiting(2, {0})}).ranks, IsEmpty());
}

TEST(Diagnosis, TellsHostsPeersAndTheRemedy) {
  const std::string text =
      diagnosis({waiting(0, {1}), std::nullopt, waiting(2, {0, 1})}, {"n0", "n1", "n1"}, 0, "ob1 (tcp)");
  EXPECT_THAT(text, HasSubstr("2 of 3 ranks heard; transport: ob1 (tcp)"));
  EXPECT_THAT(text,
              HasSubstr("rank 2 on n0: step 7, waited 2.0 s of 2.0 s for messages of rank 0, 1; completed last: "));
  EXPECT_THAT(text, HasSubstr("no word from rank 1 on n1: stopped, dead, cut off, or busy computing"));
  EXPECT_THAT(text, HasSubstr("likely culprit: rank 1 on n1: no answer, and rank 0, 2 wait for 1"));
  EXPECT_THAT(text, HasSubstr("--wait-timeout"));
}

TEST(Line, CutsWhatDoesNotFit) {
  Line line;
  for (int i = 0; i < 1000; ++i) line.add("12345");
  EXPECT_LT(line.text().size(), 1024u);
  EXPECT_GE(line.text().size(), 1000u);
  Line numbers;
  numbers.add(-12).add(" ").add_seconds(0.96).add(" ").add_seconds(61.04);
  EXPECT_EQ(numbers.text(), "-12 1.0 s 61.0 s");
}

}  // namespace
}  // namespace moesaic::comm
