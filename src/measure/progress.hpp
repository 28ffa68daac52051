#pragma once

#include <memory>
#include <string_view>

#include "moe/dispatch.hpp"

namespace moesaic::measure {

/// How messages go on while experts compute.
enum class Progress : std::uint8_t {
  kPoll,    ///< the computing thread looks at MPI between ranges: the product's way
  kThread,  ///< a thread of its own looks at MPI
  kNone,    ///< they do not, but for what the system does by itself
};
/// Error on another word.
Progress progress_from(std::string_view word);

/// Error unless this MPI lets threads take turns in calling it, which kThread needs.
void require_threads_of(Progress progress);

/// The dispatcher, with messages that go on so between next_batch() and start_combine().
std::unique_ptr<moe::Dispatcher> with_progress(Progress progress, std::unique_ptr<moe::Dispatcher> dispatcher);

}  // namespace moesaic::measure
