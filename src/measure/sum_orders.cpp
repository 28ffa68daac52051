#include "measure/sum_orders.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/parallel.hpp"
#include "measure/kernel_case.hpp"
#include "measure/limits.hpp"
#include "measure/row_values.hpp"
#include "plan/tree_table.hpp"

namespace moesaic::measure {
namespace {

constexpr int kTag = 10;

backend::Slice slice(AlignedBuffer& buffer) { return {at(buffer.data()), buffer.data()}; }

}  // namespace

struct SumOrders::Own {
  moe::HostRouting routing;
  plan::OwnerPlan plan;
  IdVector<plan::StageRank, std::uint64_t> send_bytes;  // to each owner
  IdVector<plan::DomainId, AlignedBuffer> streams;      // from each holder, which is a domain by itself
  AlignedBuffer m;                                      // fp32 (own rows, D)
  std::vector<std::uint8_t> begun;                      // of own rows: m has a term

  std::int64_t num_rows() const { return std::ssize(begun); }
};

SumOrders::SumOrders(const DispatchJob& job)
    : job_(job),
      setting_(job.grid(), plan::Domains::alone(job.world().size()),
               moe::piece_sizes(job.grid(), job.compute().numerics())),
      me_(job.world().rank()),
      mail_(comm::make_pairwise_mailbox(job.world(), kTag)),
      own_(static_cast<std::size_t>(job.num_steps())) {
  const auto traffic = job.traffic(plan::DispatchAlgorithm::kFlat);
  std::size_t most = 0;
  for (std::size_t s = 0; s < own_.size(); ++s) {
    Own& own = own_[s];
    own.routing = job.own_routing(s);
    plan::plan_owner(setting_, plan::StageRank{me_}, own.routing.ascending_experts, own.plan);
    own.begun.resize(own.routing.experts.size() / static_cast<std::size_t>(setting_.active()));
    own.m.reserve(own.begun.size() * setting_.pieces.partial + 1);
    for (const std::size_t bytes : own.plan.stream_bytes) {
      own.streams.emplace_back().reserve(bytes + 1);
      most = std::max(most, bytes);
    }
    const plan::PairTraffic& combine = traffic[s].combine;
    for (const plan::StageRank owner : combine.ranks()) {
      own.send_bytes.push_back(combine.bytes[combine.at(plan::StageRank{me_}, owner)]);
      most = std::max(most, static_cast<std::size_t>(own.send_bytes.back()));
    }
  }
  pieces_.reserve(most + 1);
  const bool complete = job.grid().layout().etp == 1;
  const std::int64_t width = job.grid().config().emb_size;
  const std::size_t piece_bytes = complete ? setting_.pieces.complete : setting_.pieces.partial;
  const auto num_pieces = static_cast<std::int64_t>(most / piece_bytes);
  const auto values = random_floats(static_cast<std::size_t>(num_pieces * width), static_cast<std::uint64_t>(me_));
  if (complete)
    job.compute().kernels().to_activation(*job.compute().queue, at(values.data()), width, num_pieces, width, 1,
                                          at(pieces_.data()));
  else if (most > 0)
    std::memcpy(pieces_.data(), values.data(), most);
  for (Own& own : own_)
    if (const std::size_t bytes = own.plan.stream_bytes[plan::DomainId(me_)]; bytes > 0)
      std::memcpy(own.streams[plan::DomainId(me_)].data(), pieces_.data(), bytes);
}

SumOrders::~SumOrders() = default;

double SumOrders::time_us(SumOrder order, std::size_t step) {
  Own& own = own_[step];
  std::fill(own.begun.begin(), own.begun.end(), 0);
  return 1e6 * timed_together(job_.world(), [&] { run(order, own); });
}

void SumOrders::run(SumOrder order, Own& own) {
  const int ranks = job_.world().size();
  for (const plan::DomainId holder : own.streams.ids())
    if (holder.value() != me_ && own.plan.stream_bytes[holder] > 0)
      mail_->expect(holder.value(), slice(own.streams[holder]), own.plan.stream_bytes[holder]);
  for (int k = 1; k < ranks; ++k) {
    const plan::StageRank owner((me_ + k) % ranks);
    if (own.send_bytes[owner] > 0) mail_->send(owner.value(), slice(pieces_), own.send_bytes[owner]);
  }
  if (order == SumOrder::kArrival) {
    {
      const BetweenRanges messages_go_on([&] { job_.world().progress(); });
      add_stream(own, me_);
    }
    while (const auto arrival = mail_->next()) add_stream(own, arrival->source);
    mail_->finish();
    return;
  }
  while (mail_->next()) {
  }
  mail_->finish();
  std::vector<backend::ConstBytes> streams;
  for (const AlignedBuffer& stream : own.streams) streams.push_back(at(stream.data()));
  const plan::TreeTable trees = plan::owner_trees(setting_);
  const ModelConfig& c = job_.grid().config();
  job_.compute().kernels().combine_rows(
      *job_.compute().queue,
      {own.num_rows(), c.emb_size, c.num_experts, setting_.active(), at(own.routing.ascending_experts.data()),
       at(own.routing.ascending_gates.data()), at(own.plan.subsets.data()), at(own.plan.first_piece.data()),
       at(own.plan.pieces.data()), at(std::as_const(streams).data())},
      backend::TreeList(*job_.compute().queue, trees), at(own.m.as<float>()));
}

/// m(row) += gate * piece, for all pieces of a holder.
void SumOrders::add_stream(Own& own, int holder) {
  const std::int64_t width = job_.grid().config().emb_size;
  const RowForm form =
      job_.grid().layout().etp == 1 ? activation_row(job_.compute().numerics(), width) : RowForm{DType::kF32, width};
  const auto active = static_cast<std::size_t>(setting_.active());
  const std::byte* const stream = own.streams[plan::DomainId(holder)].data();
  const auto add = [&](const std::byte* piece, float gate, bool first, float* m) {
    thread_local std::vector<float> values;
    values.resize(static_cast<std::size_t>(width));
    row_values(form, piece, values.data());
    for (std::int64_t i = 0; i < width; ++i) {
      const float value = gate * values[static_cast<std::size_t>(i)];
      m[i] = first ? value : m[i] + value;
    }
  };
  parallel_for(own.num_rows(), [&](std::int64_t row) {
    float* const m = own.m.as<float>() + row * width;
    const std::size_t first = static_cast<std::size_t>(row) * active;
    for (std::size_t choice = first; choice < first + active; ++choice)
      for (auto p = own.plan.first_piece[choice]; p < own.plan.first_piece[choice + 1]; ++p) {
        const auto& [offset_bytes, domain] = own.plan.pieces[static_cast<std::size_t>(p)];
        if (domain != holder) continue;
        std::uint8_t& begun = own.begun[static_cast<std::size_t>(row)];
        add(stream + offset_bytes, own.routing.ascending_gates[choice], begun == 0, m);
        begun = 1;
      }
  });
}

bool SumOrders::agree(std::size_t step) {
  Own& own = own_[step];
  const auto elems = static_cast<std::size_t>(own.num_rows() * job_.grid().config().emb_size);
  time_us(SumOrder::kTree, step);
  const std::vector<float> tree(own.m.as<float>(), own.m.as<float>() + elems);
  std::fill_n(own.m.as<float>(), elems, NAN);
  time_us(SumOrder::kArrival, step);
  // Pieces are below 1: an expert's output is below etp, in the tree it is rounded to Act, and all sums are in fp32.
  const auto slices = static_cast<float>(job_.grid().layout().etp), active = static_cast<float>(setting_.active());
  const float rounding = 0x1p-8f + slices * active * 0x1p-22f;
  float gates = 0;
  for (const float gate : own.routing.gates) gates = std::max(gates, std::abs(gate));
  const float most = active * gates * slices * rounding;
  bool near = true;
  for (std::size_t i = 0; i < elems; ++i) near &= std::abs(own.m.as<float>()[i] - tree[i]) <= most;
  return job_.world().min(near) > 0;
}

}  // namespace moesaic::measure
