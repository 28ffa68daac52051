#pragma once

#include <span>

#include "base/hash.hpp"

namespace moesaic {

/// The logits hash of a run: XXH3-128 over the canonical hashes of its sequences in input order. That of a sequence is
/// XXH3-128 over its raw little-endian fp32 logits rows in ascending position.
inline Hash128 run_hash(std::span<const Hash128> sequences) {
  Hasher run;
  for (const Hash128& hash : sequences) run.update(std::as_bytes(std::span(hash.bytes)));
  return run.digest();
}

}  // namespace moesaic
