#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.hpp"

namespace moesaic::test {

/// The message of the Error that `work` throws; fails the test when it throws none.
template <class Work>
std::string error_of(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

}  // namespace moesaic::test

/// `work` must throw an Error whose message contains the text.
#define EXPECT_ERROR(work, text)                                                                  \
  do {                                                                                            \
    const std::string moesaic_message_ = ::moesaic::test::error_of([&] { work; });                \
    EXPECT_NE(moesaic_message_.find(text), std::string::npos) << "message: " << moesaic_message_; \
  } while (false)
