#include "apps/line_input.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "openai/json_line.hpp"

namespace moesaic::apps {

bool LineInput::take_line(std::string& line) {
  const std::size_t end = buffer_.find('\n', num_searched_);
  if (end == std::string::npos && !(ended_ && !buffer_.empty())) {
    num_searched_ = buffer_.size();
    return false;
  }
  line = buffer_.substr(0, end);
  if (line.ends_with('\r')) line.pop_back();
  buffer_.erase(0, end == std::string::npos ? end : end + 1);
  num_searched_ = 0;
  return true;
}

void LineInput::read() {
  std::array<char, 65536> part;
  const ssize_t size = ::read(fd_, part.data(), part.size());
  if (size < 0 && errno != EINTR && errno != EAGAIN) fail("standard input cannot be read: {}", std::strerror(errno));
  if (size == 0) ended_ = true;
  if (size > 0) buffer_.append(part.data(), static_cast<std::size_t>(size));
  if (buffer_.size() > openai::kLargestLine_bytes && buffer_.find('\n') == std::string::npos)
    fail("standard input has a line of more than {} bytes", openai::kLargestLine_bytes);
}

LineInput::State LineInput::next(std::chrono::milliseconds most, std::string& line) {
  const auto end = std::chrono::steady_clock::now() + most;
  while (!take_line(line)) {
    if (ended_) return State::kEnd;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd input = {fd_, POLLIN, 0};
    const int num_ready = ::poll(&input, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (num_ready < 0 && errno != EINTR) fail("standard input cannot be watched: {}", std::strerror(errno));
    if (num_ready <= 0) return State::kNothing;
    read();
  }
  return State::kLine;
}

}  // namespace moesaic::apps
