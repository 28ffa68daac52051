#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace moesaic {

/// What a user can act on: the message names the file, tensor or option, what was expected and found, and the remedy.
/// Leaves the program with exit code 2, after all ranks have agreed on it (comm/agree.hpp).
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace moesaic

/// Checks a precondition that only a defect of Moesaic can break; prints the values given after the condition.
#define MOESAIC_CHECK(condition, ...)                                                                            \
  do {                                                                                                           \
    if (!(condition))                                                                                            \
      throw std::logic_error(                                                                                    \
          fmt::format("{}:{}: check failed: {}: {}", __FILE__, __LINE__, #condition, fmt::format(__VA_ARGS__))); \
  } while (false)
