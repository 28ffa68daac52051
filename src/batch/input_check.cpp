#include "batch/input_check.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "openai/json_line.hpp"
#include "openai/parse_line.hpp"

namespace moesaic::batch {
namespace {

constexpr std::string_view kSpace = " \t\r";

/// Whether a line may have a request of the later rules; only such lines are parsed to see whether it has. A key may
/// have some of its letters escaped (\u0073).
bool may_need_later_rules(std::string_view line) {
  for (const std::string_view sign : {"\"seed\"", "continuation", "stop_token_ids", "best_of", "truncate_prompt_tokens",
                                      "continue_final_message", "\\u00"})
    if (line.find(sign) != std::string_view::npos) return true;
  return false;
}

bool needs_later_rules(const openai::Request& request) {
  return (request.has_seed && request.sampling.temperature > 0) ||
         request.kind == openai::RequestKind::kLoglikelihood || !request.stop_tokens.empty() ||
         request.num_drawn > request.num_choices || request.truncate_prompt_tokens || request.continues_message;
}

}  // namespace

void InputCheck::see(const InputLine& line) {
  const bool is_first = num_lines_++ == 0;
  if (const std::size_t last = line.text.find_last_not_of(kSpace); last != std::string::npos)
    last_character_ = line.text[last];
  if (is_first) first_line_ = line.text;
  if (format_ == openai::LineFormat::kJson)
    if (const auto custom_id = custom_id_of(line.text)) repeated_ids_.add(*custom_id, line.place.number);
  const bool looks_at_rules =
      !needs_later_rules_ && format_ == openai::LineFormat::kJson && may_need_later_rules(line.text);
  if (has_request_ && !looks_at_rules) return;
  const auto parsed = openai::parse_line(line.text, format_, defaults_);
  if (const auto* request = std::get_if<openai::Request>(&parsed))
    needs_later_rules_ |= batch::needs_later_rules(*request);
  if (has_request_) return;
  const auto* error = std::get_if<openai::LineError>(&parsed);
  has_request_ = !error;
  if (!error) return;
  has_chat_without_template_ |= error->reason == openai::LineError::Reason::kNoTemplate;
  if (is_first) first_error_ = *error;
}

bool InputCheck::begins_with(char c) const {
  const std::size_t begin = first_line_.find_first_not_of(kSpace);
  return begin != std::string::npos && first_line_[begin] == c;
}

/// Whether the file is one JSON array, on one line or on several. The elements of one on several may look like lines.
bool InputCheck::is_array() const {
  if (format_ != openai::LineFormat::kJson || !begins_with('[')) return false;
  if (num_lines_ == 1)
    return last_character_ == ']' || first_line_.size() > openai::kLargestLine_bytes;  // cut: no end is seen
  return last_character_ == ']' && !nlohmann::json::accept(first_line_);
}

void InputCheck::require_requests(const std::string& path) const {
  if (num_lines_ == 0) return;
  if (is_array()) fail("{}: is one JSON array, expected a JSON object a line: jq -c '.[]' makes these of it", path);
  if (has_request_) return;
  if (has_chat_without_template_)
    fail("{}: has chats and no other request that could be answered: {}", path, openai::kChatNeedsTemplate);
  if (!first_error_ || first_error_->reason != openai::LineError::Reason::kUnreadable) return;
  if (format_ == openai::LineFormat::kText)
    fail("{}: has no line of text in UTF-8; the first: {}", path, first_error_->message);
  fail("{}: has no line that is a JSON object with a request (the first: {}). {}", path, first_error_->message,
       begins_with('{') ? "If objects go over several lines, jq -c . makes a line of each"
                        : "If each line is a prompt, give --format text");
}

}  // namespace moesaic::batch
