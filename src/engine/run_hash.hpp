#pragma once

#include <span>
#include <vector>

#include "base/hash.hpp"

namespace moesaic {

/// The logits hash of a run, from those of its sequences in input order.
inline Hash128 run_hash(std::span<const Hash128> sequences) {
  Hasher run;
  for (const Hash128& hash : sequences) run.update(std::as_bytes(std::span(hash.bytes)));
  return run.digest();
}

/// The logits hash: of a sequence, XXH3-128 over its raw little-endian fp32 logits rows in ascending position; of a
/// run, XXH3-128 over the canonical sequence hashes in input order.
class RunHash {
 public:
  explicit RunHash(std::size_t num_sequences) : sequences_(num_sequences) {}

  /// The next row (V) of a sequence.
  void add(std::int32_t sequence, std::span<const float> logits) {
    sequences_[static_cast<std::size_t>(sequence)].update(std::as_bytes(logits));
  }
  Hash128 sequence_hash(std::int32_t sequence) const { return sequences_[static_cast<std::size_t>(sequence)].digest(); }
  Hash128 digest() const {
    std::vector<Hash128> hashes;
    for (const Hasher& sequence : sequences_) hashes.push_back(sequence.digest());
    return run_hash(hashes);
  }

 private:
  std::vector<Hasher> sequences_;
};

}  // namespace moesaic
