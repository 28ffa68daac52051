#include "comm/agree.hpp"

#include <algorithm>

#include "comm/share.hpp"
#include "comm/watch.hpp"

namespace moesaic::comm {
namespace {

/// `text` around `at`, in quotation marks.
std::string excerpt(const std::string& text, std::size_t at) {
  constexpr std::size_t kBefore = 40, kAfter = 60;
  const std::size_t begin = at > kBefore ? at - kBefore : 0, end = std::min(text.size(), at + kAfter);
  return fmt::format("'{}{}{}'", begin > 0 ? "..." : "", text.substr(begin, end - begin),
                     end < text.size() ? "..." : "");
}

std::string name_of(const Communicator& comm, int rank) {
  const int world_rank = comm.world_ranks()[static_cast<std::size_t>(rank)];
  return fmt::format("rank {} on {}", world_rank, hosts()[static_cast<std::size_t>(world_rank)]);
}

}  // namespace

void agree(const Communicator& comm, const std::optional<std::string>& error) {
  const int first = static_cast<int>(comm.min(error ? comm.rank() : comm.size()));
  if (first == comm.size()) return;
  std::string message = error.value_or("");
  comm.broadcast(message, first);
  if (first != 0) message = fmt::format("rank {}: {}", first, message);
  throw Error(message);
}

void require_same(const Communicator& comm, const std::string& what, const std::string& own) {
  std::string root = own, difference;
  comm.broadcast(root, 0);
  if (own != root) {
    const auto at =
        static_cast<std::size_t>(std::mismatch(own.begin(), own.end(), root.begin(), root.end()).first - own.begin());
    difference = fmt::format("{} has {}, {} has {}", name_of(comm, comm.rank()), excerpt(own, at), name_of(comm, 0),
                             excerpt(root, at));
  }
  std::string list;
  for (const std::string& text : gather_texts(comm, difference))
    if (!text.empty()) list += fmt::format("{}{}", list.empty() ? "" : "; ", text);
  agree(comm, list.empty() ? std::nullopt : std::optional(fmt::format("the ranks differ in {}: {}", what, list)));
}

}  // namespace moesaic::comm
