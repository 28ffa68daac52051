#include "comm/report.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <span>

namespace moesaic::comm {

Line& Line::add(std::string_view text) {
  const std::size_t size = std::min(text.size(), text_.size() - 1 - size_);  // room for the end of line
  std::memcpy(text_.data() + size_, text.data(), size);
  size_ += size;
  return *this;
}

Line& Line::add(std::int64_t number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  return add({digits, static_cast<std::size_t>(end - digits)});
}

Line& Line::add_seconds(double seconds) {
  const auto tenths = static_cast<std::int64_t>(seconds * 10 + 0.5);
  return add(tenths / 10).add(".").add(tenths % 10).add(" s");
}

void Line::print() const {
  char whole[sizeof text_];
  std::memcpy(whole, text_.data(), size_);
  whole[size_] = '\n';
  (void)!::write(STDERR_FILENO, whole, size_ + 1);
}

void Report::describe(Line& line) const {
  line.add("rank ");
  rank < 0 ? line.add("?") : line.add(rank);
  line.add(" on ").add(host.data()).add(": ");
  if (step > 0) line.add("step ").add(step).add(", ");
  if (layer != Position::kNoLayer) line.add("layer ").add(layer).add(", ");
  if (zone != Zone::kCount) line.add(name(zone)).add(", ");
  if (step == 0 && zone == Zone::kCount) line.add("before the first step, ");
  if (error[0]) line.add(error.data()).add(waits ? "; " : "");
  if (waits) {
    line.add("waited ").add_seconds(waited_s).add(" of ").add_seconds(timeout_s).add(" for ").add(operation.data());
    const auto named = std::span(peers).first(static_cast<std::size_t>(std::min(num_peers, kMostPeers)));
    if (num_peers > 0) {
      line.add(for_any ? " with any of rank " : " of rank ");
      add_ranks(line, named);
      if (num_peers > kMostPeers) line.add(" and ").add(num_peers - kMostPeers).add(" more");
    }
    if (num_awaited > 0) line.add(", got ").add(num_awaited - num_peers).add(" of ").add(num_awaited);
  } else if (!error[0]) {
    line.add("computes or reads, waits for nobody");
  }
  line.add("; completed last: ");
  if (completed != Zone::kCount)
    line.add(name(completed));
  else
    line.add(last_wait[0] ? last_wait.data() : "nothing");
}

}  // namespace moesaic::comm
