#include "engine/step_message.hpp"

#include <concepts>
#include <cstring>
#include <span>
#include <type_traits>

namespace moesaic {
namespace {

/// Writes integers, and lists of them behind their lengths, as 64-bit words.
class Packer {
 public:
  void number(std::int64_t word) { words_.push_back(word); }
  template <class Tag>
  void number(Id<Tag> id) {
    number(std::int64_t{id.value()});
  }
  void each(const auto& list, const auto& pack) {
    number(std::ssize(list));
    for (const auto& element : list) pack(element);
  }
  std::vector<std::byte> bytes() const {
    const auto bytes = std::as_bytes(std::span(words_));
    return {bytes.begin(), bytes.end()};
  }

 private:
  std::vector<std::int64_t> words_;
};

/// Reads what a Packer has written, in the same order.
class Unpacker {
 public:
  explicit Unpacker(const std::vector<std::byte>& bytes) : words_(bytes.size() / sizeof(std::int64_t)) {
    std::memcpy(words_.data(), bytes.data(), bytes.size());
  }
  void number(std::integral auto& word) {
    word = static_cast<std::remove_reference_t<decltype(word)>>(words_[next_++]);
  }
  template <class Tag>
  void number(Id<Tag>& id) {
    id = Id<Tag>(words_[next_++]);
  }
  void each(auto& list, const auto& unpack) {
    list.resize(static_cast<decltype(list.size())>(words_[next_++]));
    for (auto& element : list) unpack(element);
  }

 private:
  std::vector<std::int64_t> words_;
  std::size_t next_ = 0;
};

/// The order of a step's fields in a message, for a Packer and an Unpacker alike.
void visit_fields(auto& archive, auto& step) {
  const auto numbers = [&](auto& list) { archive.each(list, [&](auto& number) { archive.number(number); }); };
  numbers(step.released);
  archive.each(step.grants, [&](auto& grant) {
    archive.number(grant.sequence);
    archive.number(grant.group);
    numbers(grant.blocks);
  });
  archive.number(step.side_by_side);
  archive.each(step.batches, [&](auto& batch) {
    numbers(batch.tokens);
    numbers(batch.sequences);
    numbers(batch.positions);
    numbers(batch.num_group_rows);
    numbers(batch.logit_rows);
    numbers(batch.score_rows);
    numbers(batch.score_tokens);
  });
}

}  // namespace

std::vector<std::byte> to_bytes(const StepMessage& message) {
  Packer packer;
  packer.number(static_cast<std::int64_t>(message.kind));
  visit_fields(packer, message.step);
  return packer.bytes();
}

StepMessage from_bytes(const std::vector<std::byte>& bytes) {
  Unpacker unpacker(bytes);
  StepMessage message;
  std::int64_t kind = 0;
  unpacker.number(kind);
  message.kind = static_cast<StepKind>(kind);
  visit_fields(unpacker, message.step);
  return message;
}

}  // namespace moesaic
