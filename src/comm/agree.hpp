#pragma once

#include <optional>
#include <string>

#include "comm/mpi.hpp"

namespace moesaic::comm {

/// Collective: the verdict of all ranks on what each has just tried. When any rank brings an error, every rank throws
/// Error with the message of the lowest such rank (prefixed with the rank unless it is 0).
void agree(const Communicator& comm, const std::optional<std::string>& error);

/// Collective: Error on all ranks, that names every rank whose text is not rank 0's, its host and what both have. what:
/// "the build".
void require_same(const Communicator& comm, const std::string& what, const std::string& own);

/// Collective: runs `work` on every rank and agrees on the outcome; Errors and std exceptions count. `work` must not
/// communicate: a rank that fails would leave the others waiting.
template <class Work>
void together(const Communicator& comm, Work&& work) {
  std::optional<std::string> error;
  try {
    work();
  } catch (const std::exception& caught) {
    error = caught.what();
  }
  agree(comm, error);
}

/// Collective: `work` runs on rank 0 only; its failure is everybody's.
template <class Work>
void on_root(const Communicator& comm, Work&& work) {
  together(comm, [&] {
    if (comm.rank() == 0) work();
  });
}

}  // namespace moesaic::comm
