#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <spdlog/fmt/fmt.h>

#include <thread>

#include "engine/driver.hpp"
#include "engine/outliers.hpp"
#include "start/session.hpp"
#include "support/test_data.hpp"

namespace moesaic {
namespace {

using testing::ElementsAre;

/// An engine over the tiny model on all ranks of the job.
class Service : public testing::Test {
 protected:
  Service() {
    start::ModelOptions options;
    options.store = test::store("tiny");
    options.num_threads = 1;
    session_.emplace(options);
    session_->load({.num_sequences = 4});
    engine_.emplace(session_->world(), session_->stage(), SchedulerOptions{});
  }
  bool is_root() const { return session_->is_root(); }

  static GenerationRequest request(std::int64_t ticket, std::int64_t max_tokens) {
    GenerationRequest request;
    request.ticket = ticket;
    request.prompt = {1, static_cast<std::int32_t>(3 + ticket), 5};
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    return request;
  }
  /// Collective: steps until nothing is under way; how many did something.
  int step_until_idle() {
    int num_steps = 0;
    while (engine_->step() == StepKind::kRun) ++num_steps;
    return num_steps;
  }
  /// Collective: the tokens of rank 0's request, alone on an engine of its own.
  std::vector<std::int32_t> alone(const GenerationRequest& asked) {
    Engine engine(session_->world(), session_->stage(), SchedulerOptions{});
    std::vector<std::int32_t> tokens;
    answer(engine, is_root() ? std::vector{asked} : std::vector<GenerationRequest>(), [&](const Event& event) {
      if (const auto* finished = std::get_if<RequestFinished>(&event.what)) tokens = finished->result.tokens;
    });
    return tokens;
  }

  std::optional<start::Session> session_;
  std::optional<Engine> engine_;
};

TEST_F(Service, IsIdleAndGoesOnWithWhatAnotherThreadSubmits) {
  EXPECT_EQ(engine_->step(), StepKind::kIdle);
  EXPECT_EQ(engine_->step(), StepKind::kIdle);
  for (const std::int64_t ticket : {1, 2}) {
    if (is_root()) std::thread([&] { engine_->submit(request(ticket, 4)); }).join();
    EXPECT_EQ(step_until_idle(), 4);
    if (!is_root()) continue;
    const auto events = engine_->take_events();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].ticket, ticket);
    EXPECT_EQ(std::get<RequestFinished>(events[0].what).result.tokens.size(), 4u);
  }
  if (is_root()) engine_->end();
  EXPECT_EQ(engine_->step(), StepKind::kEnd);
}

TEST_F(Service, ACancelledRequestGivesUpItsBlocksAtTheNextStep) {
  if (is_root()) {
    engine_->submit(request(1, 40));
    engine_->submit(request(2, 5));
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(engine_->step(), StepKind::kRun);
  if (is_root()) engine_->cancel(1);
  EXPECT_EQ(engine_->step(), StepKind::kRun);
  if (is_root()) {
    EXPECT_EQ(engine_->metrics().num_used_blocks, 1);
  }
  EXPECT_EQ(step_until_idle(), 1);
  if (is_root()) {
    const auto events = engine_->take_events();
    ASSERT_EQ(events.size(), 2u);
    const auto& cancelled = std::get<RequestFinished>(events[0].what).result;
    EXPECT_EQ(cancelled.finish_reason, FinishReason::kCancelled);
    EXPECT_EQ(cancelled.tokens.size(), 3u);
    EXPECT_EQ(std::get<RequestFinished>(events[1].what).result.tokens.size(), 5u);
    EXPECT_EQ(engine_->metrics().num_used_blocks, 0);
  }
}

TEST_F(Service, ARequestThatCannotBeTakenUpFailsAlone) {
  const std::vector<std::int32_t> expected = alone(request(2, 6));
  GenerationRequest bad = request(1, 6);
  bad.prompt[1] = -1;
  if (is_root()) {
    engine_->submit(bad);
    engine_->submit(request(2, 6));
  }
  EXPECT_EQ(step_until_idle(), 6);
  if (!is_root()) return;
  const auto events = engine_->take_events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].ticket, 1);
  EXPECT_TRUE(std::holds_alternative<RequestFailed>(events[0].what));
  EXPECT_EQ(std::get<RequestFinished>(events[1].what).result.tokens, expected);
}

TEST_F(Service, RequestsOutsideTheirRangesFailByName) {
  const auto with = [](std::int64_t ticket, auto&& change) {
    GenerationRequest asked = request(ticket, 2);
    change(asked);
    return asked;
  };
  const std::vector<std::pair<GenerationRequest, std::string>> cases{
      {with(1, [](auto& r) { r.max_tokens = -5; }), "max_tokens is -5"},
      {with(2, [](auto& r) { r.sampling.temperature = -1; }), "temperature is -1"},
      {with(3, [](auto& r) { r.sampling.top_p = -3; }), "top_p is -3"},
      {with(4, [](auto& r) { r.sampling.repetition_penalty = NAN; }), "repetition_penalty is nan"},
      {with(5, [](auto& r) { r.sampling.top_k = -1; }), "top_k is -1"},
      {with(6, [](auto& r) { r.min_tokens = -1; }), "min_tokens is -1"}};
  if (is_root())
    for (const auto& [asked, reason] : cases) engine_->submit(asked);
  EXPECT_EQ(step_until_idle(), 0);
  if (!is_root()) return;
  const auto events = engine_->take_events();
  ASSERT_EQ(events.size(), cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i)
    EXPECT_THAT(std::get<RequestFailed>(events[i].what).reason, testing::HasSubstr(cases[i].second));
}

TEST_F(Service, ATicketIsOneRequestsUntilThatHasEnded) {
  if (is_root()) {
    engine_->submit(request(1, 2));
    EXPECT_THROW(engine_->submit(request(1, 2)), std::logic_error);
    EXPECT_EQ(engine_->metrics().num_queued, 1);
  }
  EXPECT_EQ(step_until_idle(), 2);
  if (is_root()) engine_->submit(request(1, 2));
  EXPECT_EQ(step_until_idle(), 2);
  if (is_root()) {
    EXPECT_EQ(engine_->take_events().size(), 2u);
  }
}

/// Stop tokens in any order end a continuation.
TEST_F(Service, StopTokensInAnyOrder) {
  const std::vector<std::int32_t> drawn = alone(request(1, 6));
  GenerationRequest asked = request(1, 6);
  if (is_root()) {
    asked.stop_tokens = {500, drawn.front(), 3};
    engine_->submit(asked);
  }
  EXPECT_EQ(step_until_idle(), 1);
  if (!is_root()) return;
  EXPECT_EQ(std::get<RequestFinished>(engine_->take_events().at(0).what).result.tokens.size(), 1u);
}

/// Scores are sums that kernels make and the host reads: on a backend whose kernels run late it must wait for them.
TEST(ServiceOnTheDeferredBackend, GivesTheScoresOfTheCpu) {
  const auto hash_with = [](const std::string& backend) {
    start::ModelOptions options;
    options.store = test::store("tiny");
    options.num_threads = 1;
    options.backend.backend = backend;
    start::Session session(options);
    session.load({.num_sequences = 2});
    Engine engine(session.world(), session.stage(), SchedulerOptions{});
    GenerationRequest asked;
    asked.max_tokens = 0;
    asked.score_from = 1;
    for (std::int32_t i = 0; i < 20; ++i) asked.prompt.push_back(3 + 7 * i);
    std::string hash;
    answer(engine, session.is_root() ? std::vector{asked} : std::vector<GenerationRequest>(), [&](const Event& event) {
      if (const auto* finished = std::get_if<RequestFinished>(&event.what)) hash = finished->result.logits_hash.hex();
    });
    return hash;
  };
  EXPECT_EQ(hash_with("deferred"), hash_with("cpu"));
}

/// The largest value of a row over its root mean square, by layer, of whichever rank's rows.
TEST_F(Service, OutliersAreSeenAndWarnedOf) {
  const std::int64_t num_layers = session_->config().num_layers;
  Outliers outliers(num_layers);
  session_->stage().watch(&outliers);
  if (is_root()) engine_->submit(request(1, 3));
  step_until_idle();
  session_->stage().watch(nullptr);
  const Outliers::Report ordinary = outliers.report(session_->world());
  EXPECT_THAT(ordinary.table, testing::HasSubstr(fmt::format("layer {:>3}", num_layers - 1)));
  EXPECT_THAT(ordinary.table, testing::Not(testing::HasSubstr(" 0.0")));
  EXPECT_TRUE(ordinary.warnings.empty());

  std::vector<float> row(200000, 1.0f);
  row[7] = -1000;  // over an rms of 2.45
  TokenBatch batch;
  if (session_->world().rank() == session_->world().size() - 1)
    outliers.see({2, Operation::kMoeNorm}, batch, {0, 1}, row);
  const Outliers::Report report = outliers.report(session_->world());
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_THAT(report.warnings[0], testing::StartsWith("layer 2, experts: max/rms 408 is above 300"));
}

TEST_F(Service, EventsComeInTheOrderOfTokensAndTheEndIsTheLast) {
  GenerationRequest asked = request(7, 3);
  asked.streams = true;
  asked.num_log_probs = 1;
  if (is_root()) engine_->submit(asked);
  step_until_idle();
  if (!is_root()) return;
  const auto events = engine_->take_events();
  ASSERT_EQ(events.size(), 4u);
  const auto& result = std::get<RequestFinished>(events[3].what).result;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& added = std::get<TokenAdded>(events[i].what);
    EXPECT_EQ(added.token, result.tokens[i]);
    ASSERT_TRUE(added.score);
    EXPECT_EQ(added.score->log_prob, result.scores[i].log_prob);
  }
  EXPECT_TRUE(engine_->take_events().empty());
}

TEST_F(Service, MetricsAreReadWhileItRuns) {
  if (is_root()) {
    for (const std::int64_t ticket : {1, 2, 3}) engine_->submit(request(ticket, 8));
    std::jthread reader([this](const std::stop_token& stop) {
      std::int64_t before = 0;
      while (!stop.stop_requested()) {
        const std::int64_t now = engine_->metrics().drawn_tokens;
        EXPECT_LE(before, now);
        before = now;
      }
    });
    step_until_idle();
  } else {
    step_until_idle();
  }
  if (!is_root()) return;
  const Metrics metrics = engine_->metrics();
  EXPECT_EQ(metrics.num_steps, 8);
  EXPECT_EQ(metrics.prompt_tokens, 9);
  EXPECT_EQ(metrics.drawn_tokens, 24);
  EXPECT_EQ(metrics.num_running + metrics.num_queued, 0);
  EXPECT_GT(metrics.decode.tokens_per_s(), 0);
}

TEST_F(Service, WhatIsUnderWayAtTheEndLeavesNothingBehind) {
  const std::vector<std::int32_t> expected = alone(request(1, 6));
  if (is_root()) engine_->submit(request(1, 6));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(engine_->step(), StepKind::kRun);
  if (is_root()) engine_->end();
  EXPECT_EQ(engine_->step(), StepKind::kEnd);
  EXPECT_EQ(alone(request(1, 6)), expected);
}

TEST_F(Service, AFailureOfTheDriverIsThatOfAllRanks) {
  if (is_root()) engine_->fail("the disk is full");
  EXPECT_THROW(engine_->step(), Error);
}

}  // namespace
}  // namespace moesaic
