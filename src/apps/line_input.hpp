#pragma once

#include <chrono>
#include <string>

namespace moesaic::apps {

/// Lines as they come from a terminal, a pipe or a file, without ever waiting longer than is asked for.
class LineInput {
 public:
  /// fd: stays open, and the caller's.
  explicit LineInput(int fd) : fd_(fd) {}

  enum class State : unsigned char { kLine, kNothing, kEnd };
  /// Waits at most so long, and shorter when a signal comes. kLine: `line` is the next one, without its end; the last
  /// one need not have any. Error when the input cannot be read, or a line has more than 16 MiB.
  State next(std::chrono::milliseconds most, std::string& line);

 private:
  bool take_line(std::string& line);
  void read();

  int fd_;
  std::string buffer_;
  std::size_t num_searched_ = 0;  // bytes at its beginning without a line's end
  bool ended_ = false;
};

}  // namespace moesaic::apps
