#include "engine/capture.hpp"

#include <cstring>

#include "comm/agree.hpp"

namespace moesaic {

Capture::Capture(const comm::Communicator& world, bool hidden, bool routing, CaptureSink sink)
    : world_(world), hidden_(hidden), routing_(routing), sink_(std::move(sink)) {}

void Capture::append(const Header& header, std::span<const std::byte> values) {
  const auto head = std::as_bytes(std::span(&header, 1));
  records_.insert(records_.end(), head.begin(), head.end());
  records_.insert(records_.end(), values.begin(), values.end());
}

void Capture::see(ProbePoint point, const TokenBatch& batch, Range rows, std::span<const float> values) {
  const bool residual = point.operation == Operation::kEmbed || point.operation == Operation::kMoeResidual;
  if (!hidden_ || !residual) return;
  const auto record = [&](std::size_t row, std::span<const float> of_row) {
    append({batch.sequences[row].value(), batch.positions[row], point.layer + 1, kHidden,
            static_cast<std::int32_t>(of_row.size())},
           std::as_bytes(of_row));
  };
  for_each_row(rows, record, values);
}

void Capture::see_routing(ModelLayer layer, const TokenBatch& batch, Range rows, std::span<const std::int32_t> experts,
                          std::span<const float> gates) {
  if (!routing_) return;
  const auto record = [&](std::size_t row, std::span<const std::int32_t> chosen, std::span<const float> their_gates) {
    append({batch.sequences[row].value(), batch.positions[row], layer.value(), kRouting,
            static_cast<std::int32_t>(2 * chosen.size())},
           std::as_bytes(chosen));
    const auto gate_bytes = std::as_bytes(their_gates);
    records_.insert(records_.end(), gate_bytes.begin(), gate_bytes.end());
  };
  for_each_row(rows, record, experts, gates);
}

void Capture::after_step() {
  const auto all = world_.gather(records_, 0);
  records_.clear();
  comm::on_root(world_, [&] {
    for (const auto& records : all) hand_over(records);
  });
}

void Capture::hand_over(std::span<const std::byte> records) const {
  std::vector<float> values;
  std::vector<std::int32_t> experts;
  while (!records.empty()) {
    Header header;
    std::memcpy(&header, records.data(), sizeof header);
    records = records.subspan(sizeof header);
    const auto num_values = static_cast<std::size_t>(header.num_values);
    values.resize(num_values);
    std::memcpy(values.data(), records.data(), num_values * sizeof(float));
    if (header.kind == kHidden) {
      sink_.hidden(header.sequence, header.position, header.index, values);
    } else {
      experts.resize(num_values / 2);
      std::memcpy(experts.data(), records.data(), experts.size() * sizeof(std::int32_t));
      sink_.routing(header.sequence, header.position, header.index, experts,
                    std::span<const float>(values).subspan(experts.size()));
    }
    records = records.subspan(num_values * sizeof(float));
  }
}

}  // namespace moesaic
