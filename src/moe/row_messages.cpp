#include "moe/row_messages.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/trace.hpp"

namespace moesaic::moe {
namespace {

using plan::StageRank;

/// Terms of a local expert that are worth a pass over its weights while more are on their way.
constexpr std::int64_t kBatchTerms = 48;

}  // namespace

RowSender::RowSender(const DispatchContext& context, comm::Mailbox& mail)
    : context_(context), mail_(mail), encoded_(context.backend, backend::Space::kDevice) {
  while (messages_.size() < context.setting.domains.size())
    messages_.emplace_back(context.backend, backend::Space::kPinned);
}

backend::ConstBytes RowSender::encode(backend::ConstBytes n, std::int64_t num_rows) {
  if (!context_.numeric().rounds_expert_rows()) return n;
  const TraceZone zone(Zone::kPermute);
  encoded_.reserve_rows(num_rows, context_.message().row_bytes);
  context_.backend.kernels().encode_rows(context_.queue, n, num_rows, context_.width(), encoded_.data());
  return encoded_.data();
}

/// To each other domain in turn, from the next one on, so that not all begin with the same.
void RowSender::send(backend::ConstBytes own, std::span<const std::int32_t> slots, const plan::OwnerPlan& plan) {
  const auto num_own = std::ssize(slots) / context_.setting.active();
  const plan::Domains& domains = context_.setting.domains;
  if (num_own == 0 || domains.size() == 1) return;
  const bool all = context_.traits.sends_all_rows;  // everybody gets the same message
  const auto message_for = [&](plan::DomainId domain) {
    const std::size_t size = context_.message().size_bytes(all ? num_own : std::ssize(plan.send_rows[domain]));
    backend::Buffer& message = messages_[all ? context_.domain() : domain];
    message.reserve(size);
    return std::pair(message.slice(), size);
  };
  const auto for_others = [&](auto&& act) {
    for (int k = 1; k < domains.size(); ++k) act(plan::DomainId((context_.domain().value() + k) % domains.size()));
  };
  if (all)
    write(own, slots, std::nullopt, message_for(context_.domain()).first);
  else
    for_others([&](plan::DomainId domain) { write(own, slots, plan.send_rows[domain], message_for(domain).first); });
  timed(Zone::kSend, [&] {
    context_.queue.wait();  // once for all messages
    for_others([&](plan::DomainId domain) {
      const auto [message, size] = message_for(domain);
      mail_.send(domains.relay(domain, context_.me).value(), message, size);
    });
  });
}

void RowSender::show(backend::ConstBytes own, std::span<const std::int32_t> slots, const backend::Slice& to) const {
  write(own, slots, std::nullopt, to);
}

/// A message of some own rows, or of all. The host writes what it has planned, a kernel the rows.
void RowSender::write(backend::ConstBytes own, std::span<const std::int32_t> slots,
                      std::optional<std::span<const std::int32_t>> rows, const backend::Slice& to) const {
  const TraceZone zone(Zone::kPermute);
  const plan::RowMessage form = context_.message();
  const auto active = static_cast<std::size_t>(context_.setting.active());
  const auto num_rows = static_cast<std::int32_t>(rows ? rows->size() : slots.size() / active);
  std::memcpy(to.host, &num_rows, sizeof num_rows);
  auto* ids = reinterpret_cast<std::int32_t*>(to.host + form.slots_offset_bytes());
  for (std::int32_t i = 0; i < num_rows; ++i) {
    const auto row = static_cast<std::size_t>(rows ? (*rows)[static_cast<std::size_t>(i)] : i);
    ids = std::copy_n(slots.data() + row * active, active, ids);
  }
  const auto chosen = rows ? context_.queue.argument(*rows) : backend::Ptr<const std::int32_t>();
  context_.backend.kernels().gather_rows(context_.queue, own, chosen, num_rows, form.row_bytes,
                                         (to + form.rows_offset_bytes(num_rows)).data);
}

RowInbox::RowInbox(const DispatchContext& context, NodeMemory& memory, comm::Mailbox& mail)
    : context_(context), memory_(memory), mail_(mail) {}

void RowInbox::begin(backend::ConstBytes own, std::span<const std::int32_t> slots) {
  arrived_.clear();
  num_given_out_ = 0;
  delivered_ = false;
  for (const NodeMemory::Slot& slot : memory_.slots(context_.own_place()))
    mail_.expect(slot.source.value(), slot.memory, slot.size_bytes);
  if (!memory_.shared() && !slots.empty()) arrived_.push_back({context_.me, {slots.begin(), slots.end()}, own, true});
}

std::span<const ArrivedRows> RowInbox::next() {
  timed(Zone::kWait, [&] { memory_.shared() ? collect_from_node() : collect_enough(); });
  return std::span(arrived_).subspan(std::exchange(num_given_out_, arrived_.size()));
}

ArrivedRows RowInbox::read(StageRank owner, const backend::Slice& message, bool answers) const {
  const plan::RowMessage form = context_.message();
  std::int32_t num_rows = 0;
  std::memcpy(&num_rows, message.host, sizeof num_rows);
  const auto* ids = reinterpret_cast<const std::int32_t*>(message.host + form.slots_offset_bytes());
  return {owner,
          {ids, ids + num_rows * context_.setting.active()},
          (message + form.rows_offset_bytes(num_rows)).data,
          answers};
}

/// Ends the exchange of rows: nobody waits for this rank's any more. MPI moves them only while this rank is at it.
void RowInbox::deliver() {
  if (!std::exchange(delivered_, true)) mail_.finish();
}

/// Waits until the rows that are here and not given out are worth a batch, or until all have come.
void RowInbox::collect_enough() {
  // A rank without experts waits too: messages without rows come to it.
  const auto worth = std::max<std::int64_t>(1, kBatchTerms * context_.setting.slots(context_.me).size());
  std::int64_t terms = 0;
  for (const ArrivedRows& rows : std::span(arrived_).subspan(num_given_out_))
    terms += plan::num_terms(context_.setting, context_.me, rows.block());
  const auto& slots = memory_.slots(context_.own_place());
  while (!delivered_) {
    const auto arrival = mail_.next(terms < worth);
    if (!arrival) break;
    const StageRank source{arrival->source};
    const auto slot =
        std::find_if(slots.begin(), slots.end(), [&](const NodeMemory::Slot& s) { return s.source == source; });
    arrived_.push_back(read(source, slot->memory, true));
    terms += plan::num_terms(context_.setting, context_.me, arrived_.back().block());
  }
  if (mail_.num_expected() == 0) deliver();
}

/// All rows of the domain in one batch: each member derives where the others put their outputs.
void RowInbox::collect_from_node() {
  if (!arrived_.empty()) return;
  while (mail_.next()) {
  }
  deliver();
  memory_.meet();
  for (const plan::MemberId member : context_.members().ids()) {
    const bool answers = member == context_.own_place();
    arrived_.push_back(read(context_.members()[member], memory_.own_message(member), answers));
    for (const NodeMemory::Slot& slot : memory_.slots(member))
      arrived_.push_back(read(slot.source, slot.memory, answers));
  }
}

}  // namespace moesaic::moe
