#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace moesaic::io {

/// A SentencePiece model. Encoding and decoding may be called by several threads at once.
class Tokenizer {
 public:
  /// `model` is the content of a tokenizer.model file. SentencePiece 0.1.97 crashes on some malformed models: give it
  /// only bytes whose hash is known or that have passed check_in_child.
  static Tokenizer from_bytes(std::string_view model, const std::string& source);

  /// Loads an untrusted model in a child process, so that a crash there becomes an Error here; returns the number of
  /// pieces.
  static std::int64_t check_in_child(std::string_view model, const std::string& source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  std::int64_t num_pieces() const;
  /// No begin or end token is added.
  std::vector<std::int32_t> encode(std::string_view text) const;
  /// UTF-8. Ids from num_pieces() on (a model may have more logits than its tokenizer has pieces) decode as the unknown
  /// piece does.
  std::string decode(std::span<const std::int32_t> ids) const;
  /// What an id stands for inside a text, spaces at its beginning included: one byte of a byte piece, nothing for
  /// control pieces.
  std::string piece(std::int32_t id) const;
  /// The name of a piece, e.g. "[EOS]", which no text shows, or "<0xE2>".
  std::string name(std::int32_t id) const;
  /// Whether an id is one byte, which may be part of a character.
  bool is_byte(std::int32_t id) const;

 private:
  Tokenizer();
  int known(std::int32_t id) const;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace moesaic::io
