#pragma once

#include "backend/backend.hpp"

namespace moesaic::deferred {

/// A backend that shows, without a GPU, that the host waits for what it reads. It gives the bits of `inner`, whose
/// kernels it runs as late as it may: on another thread, in the order of their launch, when somebody waits. What
/// kernels have been given is not at hand for the host meanwhile: device memory never, and the host's view of pinned
/// memory is made inaccessible from the launch of a kernel that gets it to the wait that allows it. So whoever reads or
/// sends too early, or writes over what a kernel still needs, crashes or is found by a wrong hash. inner: a backend
/// whose kernels run in their calls.
std::shared_ptr<backend::Backend> open_deferred(std::shared_ptr<backend::Backend> inner);

}  // namespace moesaic::deferred
