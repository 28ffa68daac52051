#pragma once

#include <string>

#include "batch/custom_id.hpp"
#include "batch/line_reader.hpp"
#include "openai/request.hpp"

namespace moesaic::batch {

/// Checks a whole input before the model is loaded, from its lines in their order.
class InputCheck {
 public:
  /// defaults: outlive this object.
  InputCheck(openai::LineFormat format, const openai::RequestDefaults& defaults)
      : format_(format), defaults_(defaults) {}

  void see(const InputLine& line);
  /// Error, with the remedy, when the file cannot be what was meant: a JSON array over all of it, no line that could be
  /// read, or no line but chats without a template. An input of requests that are all refused for their fields is one.
  void require_requests(const std::string& path) const;
  RepeatedIds& repeated_ids() { return repeated_ids_; }
  /// True if a request's result depends on rules that journals of the first version did not know: draws of a request
  /// with its own seed, tokens of a loglikelihood, fields that had no meaning then.
  bool needs_later_rules() const { return needs_later_rules_; }

 private:
  bool begins_with(char c) const;
  bool is_array() const;

  openai::LineFormat format_;
  const openai::RequestDefaults& defaults_;
  RepeatedIds repeated_ids_;
  std::int64_t num_lines_ = 0;
  bool has_request_ = false, has_chat_without_template_ = false, needs_later_rules_ = false;
  std::string first_line_;
  std::optional<openai::LineError> first_error_;  // of the first line
  char last_character_ = ' ';                     // that is no white space
};

}  // namespace moesaic::batch
