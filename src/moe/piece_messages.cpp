#include "moe/piece_messages.hpp"

#include "base/trace.hpp"

namespace moesaic::moe {

PieceSender::PieceSender(const DispatchContext& context, comm::Mailbox& mail)
    : context_(context), mail_(mail), trees_(plan::fragment_trees(context.setting)) {
  while (streams_.size() < context.setting.domains.num_ranks())
    streams_.emplace_back(context.backend, backend::Space::kPinned);
}

void PieceSender::send(const plan::RowBlock& block, std::span<const std::int32_t> places,
                       std::span<const backend::ConstBytes> outputs) {
  backend::Buffer& stream = streams_[block.owner];
  std::size_t stream_bytes = 0;
  {
    const TraceZone zone(Zone::kPermute);
    stream_bytes = plan::plan_pieces(context_.setting, context_.domain(), block, places, jobs_);
    stream.reserve(stream_bytes);
    backend::Queue& queue = context_.queue;
    context_.backend.kernels().write_pieces(queue, queue.argument(std::span(jobs_)), std::ssize(jobs_),
                                            backend::TreeList(queue, trees_), queue.argument(outputs),
                                            context_.setting.term_bytes(), context_.width(), stream.data());
  }
  const bool to_all = !context_.rows_travel();  // every rank owns the rows
  if (stream_bytes == 0 || (!to_all && block.owner == context_.me)) return;
  const TraceZone zone(Zone::kSend);
  context_.queue.wait();
  if (!to_all) return mail_.send(block.owner.value(), stream.slice(), stream_bytes);
  const int num_ranks = context_.setting.domains.num_ranks();
  for (int k = 1; k < num_ranks; ++k) mail_.send((context_.me.value() + k) % num_ranks, stream.slice(), stream_bytes);
}

PieceInbox::PieceInbox(const DispatchContext& context, comm::Mailbox& mail)
    : context_(context),
      mail_(mail),
      trees_(plan::owner_trees(context.setting)),
      received_(context.backend, backend::Space::kPinned) {}

/// Pieces of own rows come from the relays of the other domains.
void PieceInbox::begin(const plan::OwnerPlan& plan) {
  const auto for_each_stream = [&](auto&& visit) {  // of another domain, with something in it
    for (const plan::DomainId domain : plan.stream_bytes.ids())
      if (domain != context_.domain() && plan.stream_bytes[domain] > 0) visit(domain, plan.stream_bytes[domain]);
  };
  std::size_t size = 0;
  for_each_stream([&](plan::DomainId, std::size_t stream_bytes) { size += stream_bytes; });
  received_.reserve(size);
  streams_.assign(plan.stream_bytes.size(), {});
  backend::Slice into = received_.slice();
  for_each_stream([&](plan::DomainId domain, std::size_t stream_bytes) {
    mail_.expect(context_.setting.domains.relay(domain, context_.me).value(), into, stream_bytes);
    streams_[domain] = into.data;
    into = into + stream_bytes;
  });
}

void PieceInbox::finish(const plan::OwnerPlan& plan, const Routing& routing, backend::ConstBytes own_stream,
                        backend::Ptr<float> m) {
  timed(Zone::kWait, [&] {
    while (mail_.next()) {
    }
    mail_.finish();
  });
  const TraceZone zone(Zone::kUnpermute);
  streams_[context_.domain()] = own_stream;
  backend::Queue& queue = context_.queue;
  const backend::RoutedRows routed = routing.rows();
  backend::PiecesOfRows pieces;
  pieces.num_active = context_.setting.active();
  pieces.num_rows = std::ssize(plan.subsets) / pieces.num_active;
  pieces.width = context_.width();
  pieces.num_experts = context_.setting.grid.config().num_experts;
  pieces.experts = routed.ascending_experts;
  pieces.gates = routed.ascending_gates;
  pieces.trees = queue.argument(std::span(plan.subsets));
  pieces.first_piece = queue.argument(std::span(plan.first_piece));
  pieces.pieces = queue.argument(std::span(plan.pieces));
  pieces.streams = queue.argument(std::span<const backend::ConstBytes>(streams_));
  context_.backend.kernels().combine_rows(queue, pieces, backend::TreeList(queue, trees_), m);
}

}  // namespace moesaic::moe
